//! The writing transactions of pages, of which few are under way at once. On PostgreSQL each has a connection, and some wait for one another with
//! it in hand (all codes of a site count against one limit): without this, as many as there are connections would leave none to the gates.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Duration;

use kavadam_store::Tx;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{Access, AccessError};

/// Under way at once: a quarter of the connections.
const UNDER_WAY: usize = 4;
/// How long a form waits for its turn.
const WAIT: Duration = Duration::from_secs(5);

/// The turns of forms.
pub struct Turns(Arc<Semaphore>);

impl Default for Turns {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(UNDER_WAY)))
    }
}

/// A transaction of a page's; dropped without [`Form::commit`], it never happened.
pub struct Form {
    tx: Tx,
    _turn: OwnedSemaphorePermit,
}

impl Access {
    /// Begins one, in its turn.
    pub(crate) async fn write_form(&self) -> Result<Form, AccessError> {
        let turn = Arc::clone(&self.0.turns.0).acquire_owned();
        let turn = tokio::time::timeout(WAIT, turn).await;
        let turn = turn.map_err(|_| AccessError::Busy)?.map_err(|_| AccessError::Lost)?;
        Ok(Form {
            tx: self.write().await?,
            _turn: turn,
        })
    }
}

impl Form {
    pub(crate) async fn commit(self) -> Result<(), AccessError> {
        Ok(self.tx.commit().await?)
    }
}

impl Deref for Form {
    type Target = Tx;

    fn deref(&self) -> &Tx {
        &self.tx
    }
}

impl DerefMut for Form {
    fn deref_mut(&mut self) -> &mut Tx {
        &mut self.tx
    }
}
