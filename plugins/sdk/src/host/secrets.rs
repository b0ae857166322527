//! Secrets that a call may use, mostly without seeing them. Each needs its requirement.

use crate::Error;
use crate::bindings::tollgate::plugin::secrets;

/// A secret lent to this call. Holding it shows nothing of the value.
#[derive(Debug)]
pub struct Secret(pub(crate) secrets::Secret);

/// Opens the secret of this name.
pub fn open(name: &str) -> Result<Secret, Error> {
    secrets::open(name).map(Secret).map_err(Error::from_host)
}

impl Secret {
    /// A random text that stands for the value in the headers of a request to the bound origin, for code that builds
    /// its own headers.
    pub fn placeholder(&self) -> Result<String, Error> {
        self.0.placeholder().map_err(Error::from_host)
    }

    /// The value. Only where the requirement says `reveal` and policy allows it by name.
    pub fn reveal(&self) -> Result<String, Error> {
        self.0.reveal().map_err(Error::from_host)
    }
}
