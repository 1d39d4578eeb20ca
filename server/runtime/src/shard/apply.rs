//! Carries out the effects of a turn.

use std::sync::PoisonError;

use throng_engine::App;
use tokio::sync::mpsc::error::TrySendError;

use super::turn::Worker;

impl<A: App> Worker<A> {
    pub(super) fn apply(&mut self) {
        for (to, request) in self.effects.requests.drain(..) {
            let pushed = self.lane_ends.requests_out[usize::from(to.0)].push(request);
            assert!(pushed.is_ok(), "the engine never emits more than fits");
        }
        for (to, delivery) in self.effects.deliveries.drain(..) {
            let pushed = self.lane_ends.deliveries_out[usize::from(to.0)].push(delivery);
            assert!(pushed.is_ok(), "the engine never emits more than fits");
        }
        self.lane_ends.ring();
        for (poll, answer) in self.effects.answers.drain(..) {
            // Without an entry, the client has given up (`HttpGone`).
            if let Some(waiting) = self.polls.remove(&poll) {
                // The client may have closed its connection.
                let _ = waiting.send(answer);
            }
        }
        let commands = std::mem::take(&mut self.effects.commands);
        for command in commands {
            self.command(command);
        }
        for signal in self.effects.signals.drain(..) {
            match self.channels.signals.try_send(signal) {
                Ok(()) => {}
                Err(TrySendError::Full(_)) => unreachable!("the engine never emits more than fits"),
                // By design: the process is ending, and the backplane has ended before this shard.
                Err(TrySendError::Closed(_)) => self.counters.signals_dropped += 1,
            }
        }
        let closes = std::mem::take(&mut self.effects.closes);
        self.to_close.extend(closes);
        let resumes = std::mem::take(&mut self.effects.resumes);
        for pipe in resumes {
            self.regroup(pipe);
            self.watch(pipe, |interest| interest.is_read = true);
        }
        if !self.effects.changes.is_empty() {
            let mut view = self.view.lock().unwrap_or_else(PoisonError::into_inner);
            view.extend(self.effects.changes.drain(..));
        }
        for (client, why) in self.effects.refused.drain(..) {
            self.config.policy.refusals.note(client, why);
        }
        for line in self.effects.logs.drain(..) {
            if self.channels.logs.try_send(line).is_err() {
                self.counters.logs_dropped += 1;
            }
        }
    }

    fn command(&mut self, command: A::Command) {
        match self.channels.commands.try_send(command) {
            Ok(()) => self.commands_unanswered += 1,
            Err(TrySendError::Full(_)) => unreachable!("unanswered commands fit the lane"),
            // By design: the process is ending, and the HTTP thread has ended before this shard.
            Err(TrySendError::Closed(_)) => self.counters.commands_dropped += 1,
        }
    }
}
