//! Sessions of the older revisions, each bound to the agent that created it.
//!
//! A session's id is no proof of anything: whoever sends it must be the agent of its creation, for
//! the same person and by the same chain, and to everyone else the session does not exist. `rmcp` sets no bound on their number; this does.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::Stream;
use rmcp::model::{ClientJsonRpcMessage, ServerJsonRpcMessage};
use rmcp::transport::streamable_http_server::session::local::{
    LocalSessionManager, LocalSessionManagerError,
};
use rmcp::transport::streamable_http_server::session::{
    ServerSseMessage, SessionId, SessionManager,
};

use super::pending::NotTaken;
use crate::identity::Principal;

tokio::task_local! {
    /// Whose request is creating a session.
    pub(super) static CREATOR: Principal;
}

/// `rmcp`'s sessions, with owners.
pub(super) struct Sessions {
    inner: LocalSessionManager,
    owners: Mutex<HashMap<SessionId, Principal>>,
    most: usize,
    most_per_agent: usize,
}

/// Why a session can't be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum SessionError {
    #[error("too many sessions")]
    Full,
    #[error("a session without an agent")]
    NoAgent,
    // Not `#[from]`'s own text, which would name the session.
    #[error("the session has ended")]
    Ended(#[source] LocalSessionManagerError),
}

impl Sessions {
    pub(super) fn new(most: usize, most_per_agent: usize) -> Self {
        Self {
            inner: LocalSessionManager::default(),
            owners: Mutex::default(),
            most,
            most_per_agent,
        }
    }

    fn owners(&self) -> MutexGuard<'_, HashMap<SessionId, Principal>> {
        self.owners.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether `who` created the session `id`.
    pub(super) fn owned(&self, id: &str, who: &Principal) -> bool {
        self.owners().get(id) == Some(who)
    }

    /// Whether `who` may create another.
    pub(super) fn room(&self, who: &Principal) -> bool {
        Self::fits(&self.owners(), self.most, self.most_per_agent, who)
    }

    fn fits(
        owners: &HashMap<SessionId, Principal>,
        most: usize,
        most_per_agent: usize,
        who: &Principal,
    ) -> bool {
        owners.len() < most
            && owners
                .values()
                .filter(|owner| owner.agent == who.agent)
                .count()
                < most_per_agent
    }
}

impl SessionManager for Sessions {
    type Error = SessionError;
    type Transport = <LocalSessionManager as SessionManager>::Transport;

    async fn create_session(&self) -> Result<(SessionId, Self::Transport), Self::Error> {
        let creator = CREATOR
            .try_with(Clone::clone)
            .map_err(|_| SessionError::NoAgent)?;
        if !self.room(&creator) {
            return Err(SessionError::Full);
        }
        let (id, transport) = self
            .inner
            .create_session()
            .await
            .map_err(SessionError::Ended)?;
        // Nobody knows the id yet, so nothing comes between. Two at once at the very limit can both
        // pass, by the number of connections at most, which is bounded too.
        self.owners().insert(id.clone(), creator);
        Ok((id, transport))
    }

    async fn initialize_session(
        &self,
        id: &SessionId,
        message: ClientJsonRpcMessage,
    ) -> Result<ServerJsonRpcMessage, Self::Error> {
        self.inner
            .initialize_session(id, message)
            .await
            .map_err(SessionError::Ended)
    }

    async fn has_session(&self, id: &SessionId) -> Result<bool, Self::Error> {
        self.inner
            .has_session(id)
            .await
            .map_err(SessionError::Ended)
    }

    async fn close_session(&self, id: &SessionId) -> Result<(), Self::Error> {
        self.owners().remove(id);
        self.inner
            .close_session(id)
            .await
            .map_err(SessionError::Ended)
    }

    async fn create_stream(
        &self,
        id: &SessionId,
        message: ClientJsonRpcMessage,
    ) -> Result<impl Stream<Item = ServerSseMessage> + Send + Sync + 'static, Self::Error> {
        self.inner
            .create_stream(id, message)
            .await
            .map_err(SessionError::Ended)
    }

    async fn accept_message(
        &self,
        id: &SessionId,
        message: ClientJsonRpcMessage,
    ) -> Result<(), Self::Error> {
        self.inner
            .accept_message(id, message)
            .await
            .map_err(SessionError::Ended)
    }

    async fn create_standalone_stream(
        &self,
        id: &SessionId,
    ) -> Result<impl Stream<Item = ServerSseMessage> + Send + Sync + 'static, Self::Error> {
        self.inner
            .create_standalone_stream(id)
            .await
            .map_err(SessionError::Ended)
    }

    async fn resume(
        &self,
        id: &SessionId,
        last_event_id: String,
    ) -> Result<impl Stream<Item = ServerSseMessage> + Send + Sync + 'static, Self::Error> {
        self.inner
            .resume(id, last_event_id)
            .await
            .map_err(SessionError::Ended)
    }
}

/// The ids of requests that are under way in each session: one id has one effect, and there is an end to them.
#[derive(Debug)]
pub(super) struct Answering {
    ids: Mutex<HashMap<Arc<str>, HashSet<String>>>,
    most: usize,
}

/// An id that is taken; free again when this is dropped.
#[derive(Debug)]
pub(super) struct Slot {
    of: Arc<Answering>,
    session: Arc<str>,
    id: String,
}

impl Answering {
    pub(super) fn new(most: usize) -> Self {
        Self {
            ids: Mutex::default(),
            most,
        }
    }

    /// How many there may be in one session.
    pub(super) const fn most(&self) -> usize {
        self.most
    }

    fn ids(&self) -> MutexGuard<'_, HashMap<Arc<str>, HashSet<String>>> {
        self.ids.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes `id` within `session`.
    pub(super) fn take(self: &Arc<Self>, session: &str, id: String) -> Result<Slot, NotTaken> {
        let mut all = self.ids();
        let session: Arc<str> = match all.get_key_value(session) {
            Some((_, ids)) if ids.contains(&id) => return Err(NotTaken::Again),
            Some((_, ids)) if ids.len() >= self.most => return Err(NotTaken::Full),
            Some((session, _)) => Arc::clone(session),
            None => Arc::from(session),
        };
        all.entry(Arc::clone(&session))
            .or_default()
            .insert(id.clone());
        drop(all);
        Ok(Slot {
            of: Arc::clone(self),
            session,
            id,
        })
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut all = self.of.ids();
        if let Some(ids) = all.get_mut(&self.session) {
            ids.remove(&self.id);
            if ids.is_empty() {
                all.remove(&self.session);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_has_so_many_ids_each_of_them_once() {
        let answering = Arc::new(Answering::new(2));
        let take = |session, id: &str| answering.take(session, id.to_owned());
        let one = take("a", "1").unwrap();
        assert_eq!(take("a", "1").unwrap_err(), NotTaken::Again);
        let _two = take("a", "2").unwrap();
        assert_eq!(take("a", "3").unwrap_err(), NotTaken::Full);
        let other = take("b", "1").unwrap();
        drop(one);
        let _three = take("a", "3").unwrap();
        drop(other);
        assert_eq!(
            answering.ids().len(),
            1,
            "nothing is kept of a session that asks nothing"
        );
    }
}
