//! The state: records and the indexes that make every look-up constant or logarithmic.
//!
//! Architecture invariant: `apply` is the only thing that changes it, so a replayed journal gives the
//! same state. It never fails and never decides: rules are checked before a mutation is made.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque},
    path::Path,
};

use chrono::{DateTime, Utc};

use crate::{
    error::SimError,
    journal::{Journal, Key, Mutation, Token},
    model::{
        Attempt, NotificationRecord, NotificationState, NotifyKey, Refund, RefundStatus, TradeState,
        Transaction,
    },
    subscribe::{MESSAGES_KEPT, SentMessage},
};

/// Prepay ids remembered for an order; older ones are forgotten and so cannot be paid with.
const PREPAYS_KEPT: usize = 100;

/// State and journal: one lock holds both, so their order is the same.
#[derive(Debug)]
pub(crate) struct Store {
    state: State,
    journal: Journal,
}

impl Store {
    pub(crate) fn open(path: Option<&Path>) -> Result<Self, SimError> {
        let (journal, mutations) = Journal::open(path)?;
        let mut state = State::default();
        for mutation in mutations {
            state.apply(mutation);
        }
        Ok(Self { state, journal })
    }

    /// Writes a mutation down, then makes it visible.
    pub(crate) fn commit(&mut self, mutation: Mutation) -> Result<(), SimError> {
        self.journal.append(&mutation)?;
        self.state.apply(mutation);
        Ok(())
    }
}

impl std::ops::Deref for Store {
    type Target = State;
    fn deref(&self) -> &State {
        &self.state
    }
}

/// Everything the simulator knows.
#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) orders: HashMap<Key, Transaction>,
    pub(crate) refunds: HashMap<Key, Refund>,
    pub(crate) notifications: BTreeMap<u64, NotificationRecord>,
    /// Newest order or refund with a number, for control calls that name no merchant.
    pub(crate) order_by_number: HashMap<String, Key>,
    pub(crate) order_by_transaction: HashMap<String, Key>,
    pub(crate) order_by_prepay: HashMap<String, Key>,
    pub(crate) refund_by_number: HashMap<String, Key>,
    pub(crate) refund_by_id: HashMap<String, Key>,
    pub(crate) notification_by_id: HashMap<String, u64>,
    pub(crate) refunds_due: BTreeSet<(DateTime<Utc>, Key)>,
    pub(crate) sends_due: BTreeSet<(DateTime<Utc>, u64)>,
    /// Absent: the merchant has all the money in the world.
    pub(crate) balances: HashMap<String, i64>,
    pub(crate) codes_used: HashSet<String>,
    /// By appid, oldest first; pruned to a day.
    pub(crate) tokens: HashMap<String, Vec<Token>>,
    pub(crate) token_app: HashMap<String, String>,
    /// Messages that a user still takes, by openid and template.
    pub(crate) accepted: HashMap<(String, String), u32>,
    pub(crate) messages: VecDeque<SentMessage>,
    pub(crate) notify_key: NotifyKey,
    pub(crate) clock_offset_ms: i64,
    /// Mutations applied: the source of unique numbers.
    pub(crate) sequence: u64,
}

impl State {
    pub(crate) fn order(&self, mchid: &str, number: &str) -> Option<&Transaction> {
        self.orders.get(&Key::new(mchid, number))
    }

    pub(crate) fn apply(&mut self, mutation: Mutation) {
        self.sequence += 1;
        match mutation {
            Mutation::OrderCreated { order } => self.order_created(*order),
            Mutation::PrepayIssued { key, prepay } => {
                if let Some(order) = self.orders.get_mut(&key) {
                    self.order_by_prepay.insert(prepay.id.clone(), key);
                    order.prepays.push(prepay);
                    if order.prepays.len() > PREPAYS_KEPT {
                        self.order_by_prepay.remove(&order.prepays.remove(0).id);
                    }
                }
            }
            Mutation::OrderClosed { key } => {
                if let Some(order) = self.orders.get_mut(&key) {
                    order.state = TradeState::Closed;
                }
            }
            Mutation::OrderPaid { key, transaction_id, at } => self.order_paid(&key, transaction_id, at),
            Mutation::RefundCreated { refund } => self.refund_created(*refund),
            Mutation::RefundEnded { key, status, at } => self.refund_ended(&key, status, at),
            Mutation::RefundReopened { key, due_at } => {
                if let Some(refund) = self.refunds.get_mut(&key) {
                    refund.status = RefundStatus::Processing;
                    refund.due_at = due_at;
                    self.refunds_due.insert((due_at, key));
                }
            }
            Mutation::BalanceSet { mchid, fen: Some(fen) } => {
                self.balances.insert(mchid, fen);
            }
            Mutation::BalanceSet { mchid, fen: None } => {
                self.balances.remove(&mchid);
            }
            Mutation::ClockMoved { offset_ms } => self.clock_offset_ms = offset_ms,
            Mutation::NotifyKeySet { key } => self.notify_key = key,
            Mutation::NotificationQueued { record } => self.notification_queued(*record),
            Mutation::NotificationTried { sequence, attempts, next_at, counted } => {
                self.notification_tried(sequence, attempts, next_at, counted);
            }
            Mutation::CodeUsed { code } => {
                self.codes_used.insert(code);
            }
            Mutation::TokenIssued { token } => self.token_issued(token),
            Mutation::MessagesAccepted { openid, template_id, count: 0 } => {
                self.accepted.remove(&(openid, template_id));
            }
            Mutation::MessagesAccepted { openid, template_id, count } => {
                let left = self.accepted.entry((openid, template_id)).or_default();
                *left = left.saturating_add(count);
            }
            Mutation::MessageSent { message } => self.message_sent(message),
        }
    }

    fn order_created(&mut self, order: Transaction) {
        let key = Key::new(&order.mchid, &order.out_trade_no);
        self.order_by_number.insert(order.out_trade_no.clone(), key.clone());
        for prepay in &order.prepays {
            self.order_by_prepay.insert(prepay.id.clone(), key.clone());
        }
        self.orders.insert(key, order);
    }

    fn order_paid(&mut self, key: &Key, transaction_id: String, at: DateTime<Utc>) {
        let Some(order) = self.orders.get_mut(key) else { return };
        order.state = TradeState::Success;
        order.paid_at = Some(at);
        order.transaction_id = Some(transaction_id.clone());
        if let Some(balance) = self.balances.get_mut(&order.mchid) {
            *balance = balance.saturating_add(order.total);
        }
        self.order_by_transaction.insert(transaction_id, key.clone());
    }

    fn refund_created(&mut self, refund: Refund) {
        let key = Key::new(&refund.mchid, &refund.out_refund_no);
        if let Some(order) = self.orders.get_mut(&Key::new(&refund.mchid, &refund.out_trade_no)) {
            order.state = TradeState::Refund;
            order.refunds.push(refund.out_refund_no.clone());
        }
        if let Some(balance) = self.balances.get_mut(&refund.mchid) {
            *balance = balance.saturating_sub(refund.amount);
        }
        self.refund_by_number.insert(refund.out_refund_no.clone(), key.clone());
        self.refund_by_id.insert(refund.refund_id.clone(), key.clone());
        self.refunds_due.insert((refund.due_at, key.clone()));
        self.refunds.insert(key, refund);
    }

    fn refund_ended(&mut self, key: &Key, status: RefundStatus, at: DateTime<Utc>) {
        let Some(refund) = self.refunds.get_mut(key) else { return };
        self.refunds_due.remove(&(refund.due_at, key.clone()));
        refund.status = status;
        match status {
            RefundStatus::Success => refund.success_at = Some(at),
            // The money did not reach the customer and never will under this number.
            RefundStatus::Closed => {
                if let Some(balance) = self.balances.get_mut(&refund.mchid) {
                    *balance = balance.saturating_add(refund.amount);
                }
            }
            RefundStatus::Abnormal | RefundStatus::Processing => {}
        }
    }

    fn notification_queued(&mut self, record: NotificationRecord) {
        self.notification_by_id.insert(record.id.clone(), record.sequence);
        if let Some(at) = record.next_at {
            self.sends_due.insert((at, record.sequence));
        }
        self.notifications.insert(record.sequence, record);
    }

    /// A sending outside the schedule (`counted` false) can deliver a notification but not delay it.
    fn notification_tried(
        &mut self,
        sequence: u64,
        attempts: Vec<Attempt>,
        next_at: Option<DateTime<Utc>>,
        counted: bool,
    ) {
        if counted {
            self.sends_due_remove(sequence);
        }
        let Some(record) = self.notifications.get_mut(&sequence) else { return };
        let accepted = attempts.iter().any(|a| a.note != "probe" && a.delivery.accepted());
        record.attempts.extend(attempts);
        record.tries += usize::from(counted);
        if accepted {
            record.state = NotificationState::Delivered;
        }
        if record.state == NotificationState::Pending && counted {
            record.next_at = next_at;
            match next_at {
                Some(at) => drop(self.sends_due.insert((at, sequence))),
                None => record.state = NotificationState::GaveUp,
            }
        } else if record.state != NotificationState::Pending
            && let Some(at) = record.next_at.take()
        {
            self.sends_due.remove(&(at, sequence));
        }
    }

    /// A notification taken off the schedule while it is being sent.
    pub(crate) fn sends_due_remove(&mut self, sequence: u64) {
        if let Some(at) = self.notifications.get(&sequence).and_then(|record| record.next_at) {
            self.sends_due.remove(&(at, sequence));
        }
    }

    fn message_sent(&mut self, message: SentMessage) {
        let whose = (message.openid.clone(), message.template_id.clone());
        if let Some(left) = self.accepted.get_mut(&whose) {
            *left = left.saturating_sub(1);
        }
        self.messages.push_back(message);
        if self.messages.len() > MESSAGES_KEPT {
            self.messages.pop_front();
        }
    }

    fn token_issued(&mut self, token: Token) {
        self.token_app.insert(token.secret.clone(), token.appid.clone());
        let tokens = self.tokens.entry(token.appid.clone()).or_default();
        let horizon = token.issued_at - chrono::TimeDelta::days(1);
        for old in tokens.extract_if(.., |old| old.issued_at < horizon) {
            self.token_app.remove(&old.secret);
        }
        tokens.push(token);
    }
}

impl Store {
    /// The next notification that is due, taken off the schedule. Not journaled: after a restart in the
    /// middle of a sending it is sent again, as WeChat would.
    pub(crate) fn take_send_due(&mut self, now: DateTime<Utc>) -> Option<u64> {
        let (at, sequence) = self.state.sends_due.first().copied()?;
        (at <= now).then(|| {
            self.state.sends_due.pop_first();
            sequence
        })
    }

    /// Puts a notification back on the schedule without counting a try.
    pub(crate) fn reschedule(&mut self, sequence: u64, at: DateTime<Utc>) {
        self.state.sends_due_remove(sequence);
        if let Some(record) = self.state.notifications.get_mut(&sequence) {
            record.next_at = Some(at);
            self.state.sends_due.insert((at, sequence));
        }
    }
}
