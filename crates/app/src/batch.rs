//! The writer of the crowded use cases: what arrives together is written in one transaction.
//!
//! A request waits in the queue of its use case. A *lane* takes up to 64 waiting requests, runs them as sets in one
//! transaction, answers each, and takes what has queued up meanwhile; without a crowd that is one request in one
//! transaction, at once: there is no timer. A lane ends when nothing waits, and the next request starts one, so the
//! queue needs nobody who starts or stops it, and a shutdown that waits for its requests waits for their batches.

use std::collections::{HashMap, HashSet, VecDeque};
use std::panic::AssertUnwindSafe;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use futures::FutureExt as _;
use hexiao_core::id::MerchantId;
use hexiao_core::reason::Reason;
use hexiao_core::scope::MerchantScope;
use hexiao_db::{Tx, transact};
use tokio::sync::oneshot;
use uuid::Uuid;

use crate::context::App;
use crate::error::{AppError, Result};

/// Requests in one transaction.
const MAX_BATCH: usize = 64;
/// Requests that wait in a queue, of all merchants together.
const MAX_WAITING: usize = 16_384;
/// Requests of one merchant that wait: its crowd must leave room for the others'.
const MAX_WAITING_OF_MERCHANT: usize = 8_192;

/// A request of a use case that is written for a set.
pub(crate) trait Batched: Send + Sync + Sized + 'static {
    /// What became of one request.
    type Verdict: Send + 'static;
    /// The use case, as metrics name it.
    const NAME: &'static str;
    /// Where a crash test may stop it after the commit.
    const AFTER_COMMIT: &'static str;
    /// Requests with the same one never share a batch: the second sees what the first has committed. `None`: the use
    /// case tells repetitions within a batch apart by itself.
    fn apart(&self) -> Option<(Uuid, &str)> {
        None
    }
    /// Its queue.
    fn queue(app: &App) -> &Queue<Self>;
    /// Runs requests of one merchant; as many verdicts, in their order.
    fn run(
        app: &App,
        tx: &Tx,
        merchant: MerchantScope,
        requests: &[Self],
    ) -> impl Future<Output = Result<Vec<Self::Verdict>>> + Send;
}

/// Requests that wait.
pub(crate) struct Queue<R: Batched>(Mutex<Waiting<R>>);

struct Waiting<R: Batched> {
    /// The merchants of whom somebody waits; each gives one request in turn.
    turns: VecDeque<MerchantId>,
    of: HashMap<MerchantId, VecDeque<Entry<R>>>,
    count: usize,
    lanes: usize,
}

struct Entry<R: Batched> {
    request: R,
    since: Instant,
    answer: oneshot::Sender<Result<R::Verdict>>,
}

/// Requests of one merchant in a batch, and who waits for the verdicts.
struct Group<R: Batched> {
    merchant: MerchantScope,
    requests: Vec<R>,
    answers: Vec<oneshot::Sender<Result<R::Verdict>>>,
}

impl<R: Batched> Default for Queue<R> {
    fn default() -> Self {
        Self(Mutex::new(Waiting { turns: VecDeque::new(), of: HashMap::new(), count: 0, lanes: 0 }))
    }
}

impl<R: Batched> Queue<R> {
    /// Puts a request into the queue; whether a lane must be started for it. `None`: the queue is full.
    fn push(&self, merchant: MerchantId, entry: Entry<R>, lanes: usize) -> Option<bool> {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = waiting.count;
        let mine = waiting.of.entry(merchant).or_default();
        if count >= MAX_WAITING || mine.len() >= MAX_WAITING_OF_MERCHANT {
            return None;
        }
        mine.push_back(entry);
        if mine.len() == 1 {
            waiting.turns.push_back(merchant);
        }
        waiting.count += 1;
        let start = waiting.lanes < lanes;
        waiting.lanes += usize::from(start);
        Some(start)
    }

    /// Takes the next batch, one request of each merchant in turn. `None`: nothing waits, and the lane has ended.
    fn take(&self) -> Option<Vec<Group<R>>> {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut groups: Vec<Group<R>> = Vec::new();
        let mut place: HashMap<MerchantId, usize> = HashMap::new();
        let mut seen: HashSet<(MerchantId, Uuid, String)> = HashSet::new();
        let mut aside: Vec<(MerchantId, Entry<R>)> = Vec::new();
        let mut taken = 0;
        while taken + aside.len() < MAX_BATCH {
            let Some(merchant) = waiting.turns.pop_front() else { break };
            let Some(mine) = waiting.of.get_mut(&merchant) else { continue };
            let Some(entry) = mine.pop_front() else { continue };
            if mine.is_empty() {
                waiting.of.remove(&merchant);
            } else {
                waiting.turns.push_back(merchant);
            }
            if entry.answer.is_closed() {
                // Nothing of it was written, and nobody waits for it any more.
                waiting.count -= 1;
                continue;
            }
            if let Some((actor, key)) = entry.request.apart()
                && !seen.insert((merchant, actor, key.to_owned()))
            {
                aside.push((merchant, entry));
                continue;
            }
            taken += 1;
            waiting.count -= 1;
            let n = *place.entry(merchant).or_insert_with(|| {
                let scope = MerchantScope::of_system(merchant);
                groups.push(Group { merchant: scope, requests: Vec::new(), answers: Vec::new() });
                groups.len() - 1
            });
            metrics::histogram!("batch_wait_seconds", "use_case" => R::NAME).record(entry.since.elapsed());
            groups[n].requests.push(entry.request);
            groups[n].answers.push(entry.answer);
        }
        // To the end: somebody who repeats one request for ever must not stand before the others each time.
        for (merchant, entry) in aside {
            let mine = waiting.of.entry(merchant).or_default();
            mine.push_back(entry);
            if mine.len() == 1 {
                waiting.turns.push_back(merchant);
            }
        }
        if groups.is_empty() {
            waiting.lanes -= 1;
            return None;
        }
        // Two lanes must not lock the rows of two merchants crosswise.
        groups.sort_by_key(|group| group.merchant.merchant_id());
        Some(groups)
    }
}

/// The queues of all use cases that are written in batches.
#[derive(Default)]
pub(crate) struct Queues {
    pub(crate) confirms: Queue<crate::redeem::Confirm>,
    pub(crate) orders: Queue<crate::order::PlaceOrder>,
    pub(crate) payments: Queue<crate::settle::Paid>,
}

impl App {
    /// Has a request written together with what else waits, and returns its verdict. When the queue is full it is
    /// refused as `busy` at once.
    pub(crate) async fn in_batch<R: Batched>(
        &self,
        merchant: MerchantScope,
        request: R,
    ) -> Result<R::Verdict> {
        let (answer, verdict) = oneshot::channel();
        let entry = Entry { request, since: Instant::now(), answer };
        match R::queue(self).push(merchant.merchant_id(), entry, self.lanes) {
            None => {
                metrics::counter!("batch_full_total", "use_case" => R::NAME).increment(1);
                return Err(Reason::Busy.into());
            }
            // A task of its own: a caller who hangs up must not take a batch of others with them.
            Some(true) => drop(tokio::spawn(lane::<R>(self.clone()))),
            Some(false) => {}
        }
        verdict.await.unwrap_or_else(|_| Err(AppError::Internal("a batch was lost".to_owned())))
    }
}

async fn lane<R: Batched>(app: App) {
    while let Some(groups) = R::queue(&app).take() {
        // A panic answers its own batch only: the callers see their senders dropped, the lane goes on.
        if AssertUnwindSafe(write(&app, groups)).catch_unwind().await.is_err() {
            tracing::error!(use_case = R::NAME, "a batch panicked");
        }
    }
}

/// Writes a batch; where it fails as a whole, each of its requests by itself, so that a bad one fails alone.
async fn write<R: Batched>(app: &App, groups: Vec<Group<R>>) {
    let size: usize = groups.iter().map(|group| group.requests.len()).sum();
    metrics::histogram!("batch_size", "use_case" => R::NAME).record(u32::try_from(size).unwrap_or(u32::MAX));
    let sets: Vec<(MerchantScope, &[R])> =
        groups.iter().map(|g| (g.merchant, g.requests.as_slice())).collect();
    match commit(app, &sets).await {
        Ok(verdicts) => {
            for (group, verdicts) in groups.into_iter().zip(verdicts) {
                answer(group.answers, verdicts.into_iter().map(Ok));
            }
        }
        // Nobody gains from sixty-four more attempts at a database that is not there.
        Err(AppError::Db(error)) if error.is_unavailable() => {
            let answers = groups.into_iter().flat_map(|group| group.answers);
            answer(answers, std::iter::repeat_with(|| Err(Reason::Busy.into())));
        }
        Err(error) if size == 1 => {
            let answers = groups.into_iter().flat_map(|group| group.answers);
            answer(answers, std::iter::once(Err(error)));
        }
        Err(error) => {
            metrics::counter!("batch_split_total", "use_case" => R::NAME).increment(1);
            tracing::warn!(
                use_case = R::NAME,
                size,
                error = error.log_text(),
                "a batch failed; its requests run alone"
            );
            for group in groups {
                for (request, caller) in group.requests.iter().zip(group.answers) {
                    let alone = commit(app, &[(group.merchant, std::slice::from_ref(request))]).await;
                    let verdict = alone.and_then(|mut sets| {
                        let verdict = sets.pop().and_then(|mut verdicts| verdicts.pop());
                        verdict.ok_or_else(|| AppError::Internal("no verdict".to_owned()))
                    });
                    answer([caller], std::iter::once(verdict));
                }
            }
        }
    }
}

fn answer<V>(
    callers: impl IntoIterator<Item = oneshot::Sender<Result<V>>>,
    verdicts: impl IntoIterator<Item = Result<V>>,
) {
    for (caller, verdict) in callers.into_iter().zip(verdicts) {
        // Who hung up asks again with the same key and is told what was done.
        drop(caller.send(verdict));
    }
}

async fn commit<R: Batched>(app: &App, sets: &[(MerchantScope, &[R])]) -> Result<Vec<Vec<R::Verdict>>> {
    let started = Instant::now();
    let verdicts: Result<Vec<Vec<R::Verdict>>> = transact!(app.db, |tx| run(app, &tx, sets));
    metrics::histogram!("batch_commit_seconds", "use_case" => R::NAME).record(started.elapsed());
    if verdicts.is_ok() {
        app.hold_at(R::AFTER_COMMIT).await;
        app.wake.notify_one();
    }
    verdicts
}

async fn run<R: Batched>(app: &App, tx: &Tx, sets: &[(MerchantScope, &[R])]) -> Result<Vec<Vec<R::Verdict>>> {
    let mut verdicts = Vec::with_capacity(sets.len());
    for (merchant, requests) in sets {
        let of_merchant = R::run(app, tx, *merchant, requests).await?;
        if of_merchant.len() != requests.len() {
            return Err(AppError::Internal(format!(
                "{} verdicts for {} requests",
                of_merchant.len(),
                requests.len()
            )));
        }
        verdicts.push(of_merchant);
    }
    Ok(verdicts)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Numbered {
        n: u32,
        key: &'static str,
    }

    impl Batched for Numbered {
        type Verdict = u32;
        const NAME: &'static str = "test";
        const AFTER_COMMIT: &'static str = "confirm.after_commit";
        fn apart(&self) -> Option<(Uuid, &str)> {
            (!self.key.is_empty()).then_some((Uuid::nil(), self.key))
        }
        fn queue(_: &App) -> &Queue<Self> {
            static QUEUE: std::sync::LazyLock<Queue<Numbered>> = std::sync::LazyLock::new(Queue::default);
            &QUEUE
        }
        async fn run(_: &App, _: &Tx, _: MerchantScope, requests: &[Self]) -> Result<Vec<u32>> {
            Ok(requests.iter().map(|r| r.n).collect())
        }
    }

    fn merchant(n: u128) -> MerchantId {
        hexiao_core::id::Id::from_uuid(Uuid::from_u128(n))
    }

    fn push(queue: &Queue<Numbered>, of: MerchantId, n: u32, key: &'static str) -> Option<bool> {
        let (answer, verdict) = oneshot::channel();
        // Somebody who waits for ever.
        std::mem::forget(verdict);
        queue.push(of, Entry { request: Numbered { n, key }, since: Instant::now(), answer }, 1)
    }

    fn take(queue: &Queue<Numbered>) -> Option<Vec<(MerchantId, Vec<u32>)>> {
        let numbers =
            |g: Group<Numbered>| (g.merchant.merchant_id(), g.requests.iter().map(|r| r.n).collect());
        queue.take().map(|groups| groups.into_iter().map(numbers).collect())
    }

    #[test]
    fn a_lane_runs_while_somebody_waits_and_no_longer() {
        let queue = Queue::default();
        assert_eq!(push(&queue, merchant(1), 1, ""), Some(true));
        assert_eq!(push(&queue, merchant(1), 2, ""), Some(false), "one lane is running");
        assert_eq!(take(&queue), Some(vec![(merchant(1), vec![1, 2])]));
        assert_eq!(push(&queue, merchant(1), 3, ""), Some(false));
        assert_eq!(take(&queue), Some(vec![(merchant(1), vec![3])]));
        assert_eq!(take(&queue), None);
        assert_eq!(push(&queue, merchant(1), 4, ""), Some(true), "the lane has ended");
    }

    #[test]
    fn a_crowd_leaves_room_for_other_merchants() {
        let queue = Queue::default();
        for n in 0..1000 {
            push(&queue, merchant(1), n, "").unwrap();
        }
        for n in 0..3 {
            push(&queue, merchant(2), n, "").unwrap();
        }
        let batch = take(&queue).unwrap();
        assert_eq!(batch[0].1.len(), MAX_BATCH - 3);
        assert_eq!(batch[1], (merchant(2), vec![0, 1, 2]));
        let rest: usize =
            std::iter::from_fn(|| take(&queue)).flatten().map(|(_, numbers)| numbers.len()).sum();
        assert_eq!(rest, 1000 - (MAX_BATCH - 3));
    }

    #[test]
    fn a_merchant_fills_its_share_and_all_together_the_queue() {
        let queue = Queue::default();
        let share = u32::try_from(MAX_WAITING_OF_MERCHANT).unwrap();
        for of in 1..=2 {
            for n in 0..share {
                assert!(push(&queue, merchant(of), n, "").is_some());
            }
            assert_eq!(push(&queue, merchant(of), 0, ""), None, "its share is full");
        }
        assert_eq!(push(&queue, merchant(3), 0, ""), None, "the queue is full");
        take(&queue).unwrap();
        assert_eq!(push(&queue, merchant(3), 0, ""), Some(false));
    }

    #[test]
    fn who_hung_up_is_passed_over_and_the_lane_goes_on() {
        let queue = Queue::default();
        for n in 0..200 {
            let (answer, _) = oneshot::channel();
            let entry = Entry { request: Numbered { n, key: "" }, since: Instant::now(), answer };
            assert_eq!(queue.push(merchant(1), entry, 1), Some(n == 0));
        }
        push(&queue, merchant(1), 200, "").unwrap();
        assert_eq!(take(&queue), Some(vec![(merchant(1), vec![200])]));
        assert_eq!(take(&queue), None);
        assert_eq!(queue.0.lock().unwrap().count, 0);
    }

    #[test]
    fn repetitions_wait_for_the_next_batch_in_their_order() {
        let queue = Queue::default();
        for (n, key) in [(1, "a"), (2, "a"), (3, "b"), (4, "a")] {
            push(&queue, merchant(1), n, key).unwrap();
        }
        push(&queue, merchant(2), 5, "a").unwrap();
        assert_eq!(take(&queue), Some(vec![(merchant(1), vec![1, 3]), (merchant(2), vec![5])]));
        assert_eq!(take(&queue), Some(vec![(merchant(1), vec![2])]));
        assert_eq!(take(&queue), Some(vec![(merchant(1), vec![4])]));
        assert_eq!(take(&queue), None);
    }
}
