//! The seam to policy: the one place where a decided request becomes one that can be sent.

use super::request::Request;
use super::scope::ScopedRequest;

/// A scoped request together with the proof that policy allowed exactly it, and that its intent is
/// durable. Implemented by `policy::Checked<ScopedRequest>` and by nothing else outside of tests.
pub trait CheckedRequest {
    /// Uses the proof up.
    fn into_scoped(self) -> ScopedRequest;
}

/// A request that may be sent, once.
#[derive(Debug)]
pub struct Admitted {
    request: Request,
    public_only: bool,
}

impl Admitted {
    /// Takes what policy checked. There is no other way to make one.
    pub fn from_checked(checked: impl CheckedRequest) -> Self {
        let (request, public_only) = checked.into_scoped().into_parts();
        Self {
            request,
            public_only,
        }
    }

    /// What will be sent.
    #[must_use]
    pub const fn request(&self) -> &Request {
        &self.request
    }

    pub(super) fn into_parts(self) -> (Request, bool) {
        (self.request, self.public_only)
    }
}
