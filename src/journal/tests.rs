//! The journal against a file system that fails, a process that dies, and someone who edits.

mod chain;
