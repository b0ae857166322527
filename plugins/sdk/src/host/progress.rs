//! How far a call has come. Needs no requirement.

use crate::bindings::tollgate::plugin::progress;

/// `value` out of `total`; it must grow with each report.
pub fn report(value: f64, total: Option<f64>, message: Option<&str>) {
    progress::report(value, total, message);
}
