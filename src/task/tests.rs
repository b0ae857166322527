//! Tasks over a real database and journal, with a clock of the tests' own.
