//! A rotation that did not end, brought to its end.

use super::{OpenError, Opening, ended, failed};
use crate::journal::append::Writer;
use crate::journal::keys;
use crate::journal::note::Signer;
use crate::journal::storage::{Lock, Name};
use crate::journal::survey;

impl Opening {
    /// The last whole record closes a segment: what is left to do of a rotation is done.
    pub(super) fn after_the_last(
        &self,
        mut found: survey::End,
        lock: Box<dyn Lock>,
    ) -> Result<Writer, OpenError> {
        let storage = &*self.storage;
        let read = || failed("read the journal's keys");
        let key = keys::load(storage, Name::Key).map_err(read())?;
        let next = found.next.take();
        let missing = || {
            OpenError::Key(String::from(
                "neither `key` nor `key.next` is the key that the last record hands over to",
            ))
        };
        let next = next.ok_or_else(missing)?;
        if let Some(key) = key.as_ref().filter(|key| *key.verifier() == next) {
            if found.key.is_some() && found.checkpoints.size < found.tree.size() {
                return Err(OpenError::Key(format!(
                    "`{}` was closed by a key that has not signed its end",
                    Name::Lines(found.segment)
                )));
            }
            let origin = key.verifier().name();
            tracing::debug!(
                origin,
                "a segment is begun where a host died before it could"
            );
        } else {
            let kept = keys::load(storage, Name::NextKey).map_err(read())?;
            if !keys::is(kept.as_ref(), &next) {
                return Err(missing());
            }
            self.close(&mut found, key)?;
            keys::hand_over(storage).map_err(failed("put the next key in its place"))?;
        }
        let signer = keys::load(storage, Name::Key).map_err(read())?;
        let signer = signer
            .filter(|signer| *signer.verifier() == next)
            .ok_or_else(missing)?;
        self.begin(ended(found), signer, lock)
    }

    /// Signs the end of a segment, where the host that closed it died before it could.
    fn close(&self, found: &mut survey::End, key: Option<Signer>) -> Result<(), OpenError> {
        if found.key.is_none() || found.checkpoints.size == found.tree.size() {
            return Ok(());
        }
        let name = Name::Lines(found.segment);
        let Some(signer) = key.filter(|signer| Some(signer.verifier()) == found.key.as_ref())
        else {
            return Err(OpenError::Key(format!(
                "`key` is not the one that signs `{name}`"
            )));
        };
        let file = self.storage.open(name);
        let file = file.map_err(failed(format!("open `{name}`")))?;
        file.sync().map_err(failed(format!("sync `{name}`")))?;
        let checkpoints = std::mem::take(&mut found.checkpoints);
        let mut seal = self.seal(signer, found.segment, checkpoints)?;
        seal.close(&found.tree, &found.time)
            .map_err(failed(format!("sign the end of `{name}`")))
    }
}
