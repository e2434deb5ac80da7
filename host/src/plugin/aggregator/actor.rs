//! [`Actor`]: the thread that answers the calls to the aggregator, one at a time, and lets them be heard.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::mpsc;

use crate::plugin::bindings::AggregatorPlugin;
use crate::plugin::call::{Answer, Question, Stopwatch, Taken};
use crate::plugin::error::PluginError;
use crate::plugin::loaded::Loaded;
use crate::plugin::shadow::{Activated, Mode, beside, give};
use crate::plugin::slot::{Generation, Slot, tell};
use crate::plugin::tap::{AnyTap as _, Tap};
use crate::plugin::tape::Room;

use super::life::Life;
use super::newcomer::{GIVEN_AT_ONCE, Newcomer, Start};
use super::{Message, Reply};

/// Owns the active version of the aggregator.
pub(super) struct Actor {
    slot: Arc<Slot<Loaded<AggregatorPlugin>>>,
    life: Life,
    tap: Arc<Tap<Life>>,
}

// === impl Actor ===

impl Actor {
    pub(super) fn new(slot: Arc<Slot<Loaded<AggregatorPlugin>>>, tap: Arc<Tap<Life>>) -> Self {
        Self { life: Life::new(slot.active()), slot, tap }
    }

    /// Answers calls until the last handle is dropped.
    pub(super) fn run(mut self, mut calls: mpsc::Receiver<Message>) {
        while let Some(call) = calls.blocking_recv() {
            self.serve(call, &mut calls);
        }
    }

    /// Answers one call; while a version takes over, some of those that wait in `calls` before it.
    fn serve(&mut self, call: Message, calls: &mut mpsc::Receiver<Message>) {
        match call {
            Message::Ingest { now, batch, reply } => {
                let question = Question::Ingest { now, batch };
                answer(reply, self.input(question, Life::ingest, Answer::Ingested));
            }
            Message::Observe { now, changed, reply } => {
                let question = Question::Observe { now, changed };
                answer(reply, self.input(question, Life::observe, |()| Answer::Observed));
            }
            Message::Documents { now, reply } => {
                let question = Question::Documents { now };
                answer(reply, self.call(question, |life, _| life.documents(now), Answer::Published));
            }
            Message::Compose { now, views, documents, reply } => {
                let question = Question::Compose { now, views: views.clone(), documents: documents.clone() };
                answer(reply, self.call(question, |life, _| life.compose(now, &views, &documents), Answer::Composed));
            }
            Message::Inputs { reply } => answer(reply, self.life.inputs()),
            Message::Shadow { candidate, reply } => answer(reply, self.shadow(&candidate)),
            Message::Prepare { next, reply } => answer(reply, Ok(self.prepare(next))),
            Message::Activate { newcomer, probation, reply } => {
                answer(reply, self.activate(*newcomer, probation, calls));
            }
        }
    }

    /// Makes a call that changes the state by what it is given.
    fn input<T: Clone>(
        &mut self,
        question: Question,
        make: impl FnOnce(&mut Life, &Question) -> Result<T, PluginError>,
        of: impl FnOnce(T) -> Answer,
    ) -> Result<T, PluginError> {
        // Before the call, because this checkpoint does not hold it.
        if let Some(checkpoint) = self.life.make_room(&question)? {
            self.tap.state(&checkpoint);
        }
        let answered = self.call(question, make, of);
        if let Some(checkpoint) = self.life.checkpoint_if_due() {
            self.tap.state(&checkpoint);
        }
        answered
    }

    /// Makes a call and lets it be heard.
    fn call<T: Clone>(
        &mut self,
        question: Question,
        make: impl FnOnce(&mut Life, &Question) -> Result<T, PluginError>,
        of: impl FnOnce(T) -> Answer,
    ) -> Result<T, PluginError> {
        let spent = Stopwatch::start();
        let answered = make(&mut self.life, &question);
        let took = spent.took();
        let answer = answered.clone().map_or_else(Answer::Failed, of);
        let faults = self.life.faults();
        let taken = Taken::new(self.life.generation(), question, (answer, faults), took);
        if self.tap.heard(taken) == Room::NeedsState {
            self.mark();
        }
        answered
    }

    /// Puts the state of now on the tape.
    fn mark(&mut self) {
        match self.life.checkpoint() {
            Ok(checkpoint) => self.tap.state(&checkpoint),
            Err(error) => {
                let identity = &self.life.generation().identity;
                tell!(warn, identity, %error, "the tape begins anew: no state could be had to go on from");
                self.tap.no_state();
            }
        }
    }

    /// Lets `candidate` run beside the active version, from its state on.
    fn shadow(&mut self, candidate: &Arc<Generation<Loaded<AggregatorPlugin>>>) -> Result<(), PluginError> {
        let saved = self.life.checkpoint();
        if let Ok(saved) = &saved {
            self.tap.state(saved);
        }
        let (next, record) = (candidate.clone(), self.tap.record());
        let make = move || beside(|| Life::new(next.clone()), saved, &record);
        self.tap.accompany(candidate, Mode::Shadow, make)
    }

    /// Says where the generation `next` begins, and keeps from here on what it has to be given besides.
    fn prepare(&mut self, next: u64) -> Start {
        self.tap.keep();
        match self.tap.come_back(next) {
            Some(companion) => Start::Beside(companion),
            None => Start::State(self.life.checkpoint(), self.tap.record()),
        }
    }

    /// Gives `newcomer` what came since it was prepared, a little between two calls, until nothing is left.
    fn close_up(&mut self, newcomer: &mut Newcomer, calls: &mut mpsc::Receiver<Message>) -> Result<(), PluginError> {
        let mut left = VecDeque::new();
        loop {
            left.extend(newcomer.kept(&self.tap)?);
            if left.is_empty() {
                return Ok(());
            }
            for taken in left.drain(..GIVEN_AT_ONCE.min(left.len())) {
                give(&mut newcomer.life, &taken)?;
            }
            if !left.is_empty()
                && let Ok(call) = calls.try_recv()
            {
                self.serve(call, calls);
            }
        }
    }

    /// Lets `newcomer` take the next call. The version before it is lost only when that has worked; on probation it goes on
    /// beside the new one.
    fn activate(
        &mut self,
        mut newcomer: Newcomer,
        probation: bool,
        calls: &mut mpsc::Receiver<Message>,
    ) -> Result<Activated, PluginError> {
        self.close_up(&mut newcomer, calls)?;
        let Newcomer { life, state } = newcomer;
        let next = life.generation().clone();
        let before = std::mem::replace(&mut self.life, life);
        self.tap.taken_over(&state);
        // A trap from here on is rebuilt by the new version from its own state.
        self.mark();
        let old = before.generation().clone();
        self.tap.dismiss(&|_| true);
        self.slot.activate(&next);
        let watched = probation && {
            let make = move || (before, "its own: it was active".to_owned());
            self.tap.watch(&next, &old, make)
        };
        Ok(Activated { state, watched })
    }
}

fn answer<T>(reply: Reply<T>, answer: Result<T, PluginError>) {
    if reply.send(answer).is_err() {
        tracing::debug!("nobody waits for the aggregator's answer any more");
    }
}
