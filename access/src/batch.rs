//! Group commit: questions of gates that come at once are decided one after the other in one transaction, whose commit answers them all.
//!
//! Questions wait in a queue that one task clears. While one batch is committed the next gathers, and goes on gathering until it may be decided: so
//! the batches grow with the load, and a lone question waits for nobody. A batch that fails is undone, and its questions are then decided
//! each by itself: one that cannot be answered takes no other along. Unless the database does not answer at all: gates ask again.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use kavadam_domain::{NasId, Timestamp};
use kavadam_store::{Tx, Wanted};
use tokio::sync::oneshot;

use crate::account::received;
use crate::api::{Accounted, AccountingReport, AuthorizeRequest, Decision, Service};
use crate::latency::Latency;
use crate::unknown::Unowned;
use crate::{Access, AccessError};

/// Questions decided in one transaction. More would make those who asked first wait for those who asked last.
const MOST: usize = 1024;
/// For somebody who is held, by a question that is decided alone: a batch with it has waited long already, and many may be held.
const HELD_STILL: Duration = Duration::from_millis(50);

/// What a gate asks.
#[derive(Clone)]
pub enum Question {
    /// An Access-Request.
    Authorize(AuthorizeRequest),
    /// An Accounting-Request.
    Account(AccountingReport),
}

/// The answer to a [`Question`], of the same kind.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "one for each question, and never kept")]
pub enum Answer {
    /// To [`Question::Authorize`].
    Decision(Decision),
    /// To [`Question::Account`].
    Accounted(Accounted),
}

/// Questions that wait. Each gate has its queue, of which there are as many as batches may be under way at once.
pub(crate) struct Queue {
    lane: usize,
    waiting: Mutex<Vec<Batch>>,
    /// Somebody clears the queue.
    is_busy: AtomicBool,
}

/// How long it takes until a batch that was decided is on disk, and how many questions that answers. Counted from the start of the process.
#[derive(Default)]
pub struct Commits {
    took: Latency,
    questions: AtomicU64,
}

impl Commits {
    /// From when a batch was decided until it was committed; those that failed are not among them.
    #[must_use]
    pub const fn took(&self) -> &Latency {
        &self.took
    }

    /// Questions answered by them.
    #[must_use]
    pub fn questions(&self) -> u64 {
        self.questions.load(Ordering::Relaxed)
    }

    fn add(&self, took: Duration, questions: usize) {
        self.took.add(took);
        let questions = u64::try_from(questions).unwrap_or(u64::MAX);
        self.questions.fetch_add(questions, Ordering::Relaxed);
    }
}

struct Batch {
    questions: Vec<Question>,
    now: Timestamp,
    answers: oneshot::Sender<Answers>,
}

/// What comes of questions besides their answers, once they are committed.
#[derive(Default)]
struct Besides {
    /// Gates are to be asked for something.
    has_orders: bool,
    unowned: Unowned,
}

type Answers = Vec<Result<Answer, AccessError>>;

impl Access {
    /// Decides questions in their order; those of one gate together, since it is its gate that puts a question into a queue. When this
    /// returns, whatever was decided is committed. Needs a Tokio runtime.
    ///
    /// # Errors
    /// One for each question that could not be decided: the gate is to be left without an answer, so that it asks again.
    pub async fn answer(&self, questions: Vec<Question>, now: Timestamp) -> Vec<Result<Answer, AccessError>> {
        let count = questions.len();
        let questions = questions.into_iter().map(|question| question.received(now)).collect();
        let (answers, answered) = oneshot::channel();
        let batch = Batch {
            questions,
            now,
            answers,
        };
        let gate = batch.questions.first().map_or(NasId(0), Question::nas);
        let Some(queue) = self.queue_of(gate) else {
            return Vec::new();
        };
        queue.lock().push(batch);
        self.see_to(queue);
        answered
            .await
            .unwrap_or_else(|_| (0..count).map(|_| Err(AccessError::Lost)).collect())
    }

    fn queue_of(&self, gate: NasId) -> Option<&Queue> {
        let queues = &self.0.queues;
        let at = usize::try_from(gate.0).unwrap_or_default() % queues.len().max(1);
        queues.get(at)
    }

    /// Makes sure that somebody clears the queue; not the one who asks, who may give up at any time.
    fn see_to(&self, queue: &Queue) {
        if !queue.is_busy.swap(true, Ordering::AcqRel) {
            let mut duty = Duty {
                access: self.clone(),
                lane: queue.lane,
                is_begun: false,
            };
            tokio::spawn(async move {
                duty.is_begun = true;
                // What is asked at this moment comes along.
                tokio::task::yield_now().await;
                while duty.queue().is_some_and(|queue| !queue.lock().is_empty()) {
                    let tx = duty.access.write_many(duty.lane).await;
                    // What came while that was waited for comes along.
                    let batches = duty.queue().map(Queue::take).unwrap_or_default();
                    duty.access.clear(batches, duty.lane, tx).await;
                }
            });
        }
    }

    /// In a transaction that was made for it, if there could be one.
    async fn clear(&self, batches: Vec<Batch>, lane: usize, tx: Result<Tx, AccessError>) {
        let mut decided = match tx {
            Ok(tx) => self.decide_together(&batches, tx).await,
            Err(error) => Err(error),
        };
        if let Err(AccessError::Store(kavadam_store::Error::Stale)) = decided {
            decided = self.decide_in_doubt(&batches, lane).await;
        }
        match decided {
            Ok(decided) => {
                let mut decided = decided.into_iter();
                for batch in batches {
                    let answers = decided.by_ref().take(batch.questions.len()).map(Ok).collect();
                    // The one who asked may be gone.
                    _ = batch.answers.send(answers);
                }
            }
            Err(error) => {
                tracing::debug!(%error, "a batch failed: its questions are decided each by itself, if the database answers");
                self.decide_each_alone(batches, lane, &error).await;
            }
        }
    }

    /// After a batch failed for that reason. Once the database does not answer, the rest stay unanswered at once: each would wait as long
    /// again, while gates that ask again wait behind them. Likewise nobody waits long again for those whom somebody holds.
    async fn decide_each_alone(&self, batches: Vec<Batch>, lane: usize, reason: &AccessError) {
        let mut is_away = reason.is_timeout();
        let patience = reason.is_held().then_some(HELD_STILL);
        for batch in batches {
            let mut answers = Vec::with_capacity(batch.questions.len());
            for question in batch.questions {
                if is_away {
                    answers.push(Err(AccessError::Lost));
                    continue;
                }
                let answer = self.decide_alone(&question, batch.now, lane, patience).await;
                is_away = answer.as_ref().is_err_and(AccessError::is_timeout);
                answers.push(answer);
            }
            _ = batch.answers.send(answers);
        }
    }

    /// Nothing that is remembered is believed before it is proven.
    async fn decide_in_doubt(&self, batches: &[Batch], lane: usize) -> Result<Vec<Answer>, AccessError> {
        let mut tx = self.write_many(lane).await?;
        tx.begin().await?;
        self.decide_together(batches, tx).await
    }

    /// What is remembered is believed until the commit proves it, unless the transaction has begun.
    async fn decide_together(&self, batches: &[Batch], mut tx: Tx) -> Result<Vec<Answer>, AccessError> {
        tx.gather(&wanted(batches)).await?;
        let mut answers = Vec::new();
        let mut besides = Besides::default();
        for batch in batches {
            for question in &batch.questions {
                answers.push(self.decide_one(&mut tx, question, &mut besides, batch.now).await?);
            }
        }
        self.commit(tx, answers.len(), besides).await?;
        Ok(answers)
    }

    async fn decide_alone(
        &self,
        question: &Question,
        now: Timestamp,
        lane: usize,
        patience: Option<Duration>,
    ) -> Result<Answer, AccessError> {
        let mut tx = self.write_many(lane).await?;
        tx.begin().await?;
        if let Some(patience) = patience {
            tx.wait_for_held(patience).await?;
        }
        let mut besides = Besides::default();
        let answer = self.decide_one(&mut tx, question, &mut besides, now).await?;
        self.commit(tx, 1, besides).await?;
        Ok(answer)
    }

    async fn commit(&self, tx: Tx, questions: usize, besides: Besides) -> Result<(), AccessError> {
        let began = Instant::now();
        tx.commit().await?;
        self.0.commits.add(began.elapsed(), questions);
        self.count_unowned(besides.unowned);
        if besides.has_orders {
            self.wake_orders();
        }
        Ok(())
    }

    async fn decide_one(
        &self,
        tx: &mut Tx,
        question: &Question,
        besides: &mut Besides,
        now: Timestamp,
    ) -> Result<Answer, AccessError> {
        match question {
            Question::Authorize(request) => {
                // A report need not be moved with room for it.
                let decision = Box::pin(self.decide_request(tx, request.clone(), now)).await?;
                Ok(Answer::Decision(decision))
            }
            Question::Account(report) => {
                let (accounted, has_orders) = self.take_report(tx, report, &mut besides.unowned, now).await?;
                besides.has_orders |= has_orders;
                Ok(Answer::Accounted(accounted))
            }
        }
    }
}

/// Clearing the queue; when this ends, however it does, the duty is another's.
struct Duty {
    access: Access,
    lane: usize,
    is_begun: bool,
}

impl Duty {
    fn queue(&self) -> Option<&Queue> {
        self.access.0.queues.get(self.lane)
    }
}

impl Drop for Duty {
    fn drop(&mut self) {
        let Some(queue) = self.queue() else { return };
        queue.is_busy.store(false, Ordering::Release);
        // Somebody may have come after the last look, and relied on this one. A runtime that ends begins nothing any more.
        if self.is_begun && !queue.lock().is_empty() && tokio::runtime::Handle::try_current().is_ok() {
            self.access.see_to(queue);
        }
    }
}

impl Question {
    fn received(self, now: Timestamp) -> Self {
        match self {
            Self::Authorize(request) => Self::Authorize(request),
            Self::Account(report) => Self::Account(received(report, now)),
        }
    }

    const fn nas(&self) -> NasId {
        match self {
            Self::Authorize(request) => request.nas,
            Self::Account(report) => report.nas,
        }
    }
}

impl Queue {
    pub(crate) fn new(lane: usize) -> Self {
        Self {
            lane,
            waiting: Mutex::default(),
            is_busy: AtomicBool::new(false),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Batch>> {
        // No code runs under this lock that could leave the queue half-changed.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The batches to decide next, in the order in which they came.
    fn take(&self) -> Vec<Batch> {
        let mut waiting = self.lock();
        let mut sum = 0;
        let fitting = waiting.iter().take_while(|batch| {
            sum += batch.questions.len();
            sum <= MOST
        });
        let count = fitting.count().max(1).min(waiting.len());
        waiting.drain(..count).collect()
    }
}

/// Whoever the questions may be about.
fn wanted(batches: &[Batch]) -> Vec<Wanted<'_>> {
    let questions = batches.iter().flat_map(|batch| &batch.questions);
    questions.map(wanted_by).collect()
}

fn wanted_by(question: &Question) -> Wanted<'_> {
    let (mac, class, name) = match question {
        Question::Authorize(request) => {
            let mac = request.mac.filter(|_| matches!(request.service, Service::CallCheck));
            (mac, &request.class, request.acct_session_id.as_deref())
        }
        Question::Account(report) => (None, &report.class, Some(report.acct_session_id.as_str())),
    };
    let name = name.filter(|name| !name.is_empty() && !name.contains('\0'));
    Wanted {
        mac,
        class: class.as_deref(),
        name: name.map(|name| (question.nas(), name)),
        is_beginning: matches!(question, Question::Authorize(request) if !matches!(request.service, Service::Renewal)),
    }
}
