//! Randomness, injected: tokens, nonces, keys and placeholders all come from here, so a test decides them.

use std::sync::Arc;

/// Where the host takes random bytes from.
pub trait Entropy: Send + Sync + std::fmt::Debug {
    /// Fills `bytes`.
    ///
    /// # Errors
    ///
    /// The source has none to give. Nothing that needs them may be made then.
    fn fill(&self, bytes: &mut [u8]) -> Result<(), NoEntropy>;
}

/// A source that is shared by the parts of a host.
pub type SharedEntropy = Arc<dyn Entropy>;

/// The operating system gave no random bytes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the operating system gives no random bytes: {0}")]
pub struct NoEntropy(pub String);

/// The operating system's generator.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), NoEntropy> {
        getrandom::fill(bytes).map_err(|e| NoEntropy(e.to_string()))
    }
}

/// For tests: bytes that follow from a seed, never the same twice.
#[cfg(test)]
#[derive(Debug, Default)]
pub(crate) struct SeededEntropy(pub(crate) std::sync::atomic::AtomicU64);

#[cfg(test)]
impl Entropy for SeededEntropy {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), NoEntropy> {
        for chunk in bytes.chunks_mut(32) {
            let n = self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            let digest = crate::digest::Digest::of(&n.to_be_bytes());
            chunk.copy_from_slice(&digest.as_bytes()[..chunk.len()]);
        }
        Ok(())
    }
}
