//! Guests for tests of the host: paths of components that were built from source, and bytes of crafted ones.
//!
//! Each constant is the path of a component. `MISFITS` are wrong in one way each, and most must be refused when they are
//! loaded; `PROBE` does on request what a plugin must not; [`crafted`] makes what no compiler would.

pub mod crafted;

include!(concat!(env!("OUT_DIR"), "/gen.rs"));
