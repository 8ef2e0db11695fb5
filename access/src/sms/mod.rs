//! Sends codes. The outbox holds which challenge and to whom; the code is computed and the text written when it is sent.

mod mobile_seva;

use std::future::Future;
use std::time::Duration;

use kavadam_domain::challenge::{CODE_LIFE, code};
use kavadam_domain::{Language, MobileNumber, Timestamp};
use kavadam_store::SmsRow;
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use crate::{Access, AccessError};

pub use mobile_seva::{MobileSeva, MobileSevaConfig};

/// If the process dies while it sends, the message is tried again after so long.
const LEASE: Duration = Duration::from_secs(20);
/// Between tries of a route that is down.
const RETRY: Duration = Duration::from_secs(5);
/// The outbox is looked at this often even if nobody rings.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// A message to send.
pub struct Message {
    /// To whom.
    pub number: MobileNumber,
    /// In which language.
    pub language: Language,
    /// What it says.
    pub text: Zeroizing<String>,
}

/// What became of a sending.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sending {
    /// The operator took it; its reference.
    Sent(String),
    /// The operator may have taken it: not to be sent again.
    Unsure(String),
    /// Not now; later perhaps.
    Later(String),
    /// Never: the account, the template or the number is wrong.
    Refused(String),
}

/// A way to send messages.
pub trait SmsRoute: Send + Sync + 'static {
    /// Sends one. Neither number nor text may be logged.
    fn send(&self, message: &Message) -> impl Future<Output = Sending> + Send;
}

/// What the messages say; `{code}` and `{minutes}` are filled in.
#[derive(Debug, Clone)]
pub struct Texts {
    /// Malayalam.
    pub ml: String,
    /// English.
    pub en: String,
}

impl Texts {
    fn write(&self, language: Language, code: &str) -> Zeroizing<String> {
        let template = match language {
            Language::Ml => &self.ml,
            Language::En => &self.en,
        };
        let minutes = (CODE_LIFE.as_secs() / 60).to_string();
        Zeroizing::new(template.replace("{code}", code).replace("{minutes}", &minutes))
    }
}

/// Sends what is queued until cancelled.
pub async fn run<R: SmsRoute>(
    access: Access,
    route: R,
    texts: Texts,
    clock: fn() -> Timestamp,
    cancel: CancellationToken,
) {
    let work = async {
        loop {
            match access.send_next(&route, &texts, clock).await {
                Ok(true) => continue,
                Ok(false) => {}
                Err(error) => tracing::error!(%error, "cannot read the queue of messages"),
            }
            _ = tokio::time::timeout(LOOK_AGAIN, access.messages_changed()).await;
        }
    };
    cancel.run_until_cancelled(work).await;
}

impl Access {
    /// Sends one message that is due; `false` if none is.
    async fn send_next<R: SmsRoute>(
        &self,
        route: &R,
        texts: &Texts,
        clock: fn() -> Timestamp,
    ) -> Result<bool, AccessError> {
        let now = clock();
        let mut tx = self.write().await?;
        let Some(row) = tx.take_sms(now, now + LEASE).await? else {
            return Ok(false);
        };
        tx.commit().await?;
        let sending = if now < row.expires_at {
            let digits = Zeroizing::new(code(self.sealer().code_secret(&row.public_id).as_slice()));
            let text = texts.write(row.language, &digits);
            route
                .send(&Message {
                    number: row.number.clone(),
                    language: row.language,
                    text,
                })
                .await
        } else {
            Sending::Refused("the code has expired".to_owned())
        };
        self.note_sending(&row, sending, clock()).await?;
        Ok(true)
    }

    async fn note_sending(&self, row: &SmsRow, sending: Sending, now: Timestamp) -> Result<(), AccessError> {
        let mut tx = self.write().await?;
        match sending {
            Sending::Sent(reference) => tx.finish_sms(row.id, Some(now), &reference).await?,
            Sending::Unsure(why) => tx.finish_sms(row.id, None, &why).await?,
            Sending::Refused(why) => {
                tracing::error!(challenge.id = row.challenge_id.0, %why, "a message was refused");
                tx.finish_sms(row.id, None, &why).await?;
            }
            Sending::Later(why) => {
                tracing::warn!(challenge.id = row.challenge_id.0, attempts = row.attempts, %why, "a message waits");
                tx.postpone_sms(row.id, now + RETRY.saturating_mul(row.attempts.max(1)), &why)
                    .await?;
            }
        }
        Ok(tx.commit().await?)
    }
}
