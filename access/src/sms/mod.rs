//! Sends codes. The outbox holds which challenge and to whom; the code is computed and the text written when it is sent.
//!
//! Many messages are on their way at once, so that a route's slow answer holds up nobody else's code. Each is claimed in a transaction of
//! its own before it is sent, which puts it off for a while: two workers never send the same one, and a process that dies leaves no more
//! than what it had in hand to be sent again. There is one route, and no budget beyond the limits on asking for codes.

mod mobile_seva;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use kavadam_domain::challenge::{CODE_LIFE, code};
use kavadam_domain::{Language, MobileNumber, Timestamp};
use kavadam_store::SmsRow;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use crate::{Access, AccessError};

pub use mobile_seva::{MobileSeva, MobileSevaConfig};

/// Messages on their way at once: 100 a second where the operator takes 0.6 s for one.
const IN_FLIGHT: usize = 64;
/// If the process dies while it sends, the message is tried again after so long: longer than a route waits for its operator and we for the
/// database together.
const LEASE: Duration = Duration::from_secs(30);
/// Between tries of a route that is down.
const RETRY: Duration = Duration::from_secs(5);
/// The outbox is looked at this often even if nobody rings.
const LOOK_AGAIN: Duration = Duration::from_secs(5);
/// When told to stop, what is on its way gets so long to arrive.
const FAREWELL: Duration = Duration::from_secs(3);

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

/// Sends what is queued until cancelled; then waits a moment for what is on its way.
pub async fn run<R: SmsRoute>(
    access: Access,
    route: R,
    texts: Texts,
    clock: fn() -> Timestamp,
    cancel: CancellationToken,
) {
    let post = Arc::new(Post {
        access,
        route,
        texts,
        clock,
    });
    let mut on_their_way = JoinSet::new();
    cancel.run_until_cancelled(send_all(&post, &mut on_their_way)).await;
    // A sending cut off here may have arrived, and would be sent again.
    let _ = tokio::time::timeout(FAREWELL, async {
        while let Some(ended) = on_their_way.join_next().await {
            note_end(ended);
        }
    })
    .await;
}

/// Claims what is due while there is room, then waits for room or for something to do.
async fn send_all<R: SmsRoute>(post: &Arc<Post<R>>, on_their_way: &mut JoinSet<()>) {
    loop {
        let mut is_idle = false;
        while !is_idle && on_their_way.len() < IN_FLIGHT {
            match post.access.claim_message((post.clock)()).await {
                Ok(Some(row)) => {
                    let post = Arc::clone(post);
                    on_their_way.spawn(async move { post.deliver(&row).await });
                }
                Ok(None) => is_idle = true,
                Err(error) => {
                    tracing::error!(%error, "cannot read the queue of messages");
                    is_idle = true;
                }
            }
        }
        tokio::select! {
            Some(ended) = on_their_way.join_next() => note_end(ended),
            () = post.access.messages_changed(), if is_idle => {}
            () = tokio::time::sleep(LOOK_AGAIN), if is_idle => {}
        }
    }
}

fn note_end(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "a sending broke off");
    }
}

/// What a sending needs.
struct Post<R> {
    access: Access,
    route: R,
    texts: Texts,
    clock: fn() -> Timestamp,
}

impl<R: SmsRoute> Post<R> {
    async fn deliver(&self, row: &SmsRow) {
        let sending = if (self.clock)() < row.expires_at {
            self.route.send(&self.write(row)).await
        } else {
            Sending::Refused("the code has expired".to_owned())
        };
        if let Err(error) = self.access.note_sending(row, sending, (self.clock)()).await {
            tracing::error!(challenge.id = row.challenge_id.0, %error, "cannot note what became of a message: it may be sent again");
        }
    }

    fn write(&self, row: &SmsRow) -> Message {
        let secret = self.access.sealer().code_secret(&row.public_id);
        let digits = Zeroizing::new(code(secret.as_slice()));
        Message {
            number: row.number.clone(),
            language: row.language,
            text: self.texts.write(row.language, &digits),
        }
    }
}

impl Access {
    /// Takes one message that is due, and puts it off for as long as its sending may last.
    async fn claim_message(&self, now: Timestamp) -> Result<Option<SmsRow>, AccessError> {
        let mut tx = self.write().await?;
        let row = tx.take_sms(now, now + LEASE).await?;
        tx.commit().await?;
        Ok(row)
    }

    async fn note_sending(&self, row: &SmsRow, sending: Sending, now: Timestamp) -> Result<(), AccessError> {
        let challenge = row.challenge_id.0;
        let mut tx = self.write().await?;
        match sending {
            Sending::Sent(reference) => tx.finish_sms(row.id, Some(now), &reference).await?,
            Sending::Unsure(why) => {
                tracing::error!(challenge.id = challenge, %why, "a message may not have arrived");
                tx.finish_sms(row.id, None, &why).await?;
            }
            Sending::Refused(why) => {
                tracing::error!(challenge.id = challenge, %why, "a message was refused");
                tx.finish_sms(row.id, None, &why).await?;
            }
            Sending::Later(why) => {
                tracing::warn!(challenge.id = challenge, attempts = row.attempts, %why, "a message waits");
                tx.postpone_sms(row.id, now + RETRY.saturating_mul(row.attempts.max(1)), &why)
                    .await?;
            }
        }
        Ok(tx.commit().await?)
    }
}
