//! Tokens that may have ended unnoticed. Redis reports a logout on another node, and the report may
//! be lost; the store knows it.

use super::*;

/// Tokens in one question. There is one at a time: a new connection must not wait behind them.
pub(super) const TOKENS_MAX: usize = 512;
/// Until they are asked for again that the store could not judge.
const CHECK_RETRY_MS: u64 = 1_000;

/// At most one per session.
#[derive(Default)]
pub(super) struct TokenChecks {
    due: BTreeSet<TokenHash>,
    is_asked: bool,
    retry_at: Now,
}

impl TokenChecks {
    /// Whether tokens are to be checked and the store has not been asked for any.
    pub(super) fn are_owed(&self) -> bool {
        !(self.is_asked || self.due.is_empty())
    }

    /// The store is not asked before.
    pub(super) fn retry_at(&self) -> Now {
        self.retry_at
    }
}

impl Edge {
    /// Every token that sessions act for, or are about to, is asked for once more.
    pub(crate) fn check_tokens(&mut self) {
        for local in self.locals.iter().flatten() {
            let asked = local.pending.as_ref().and_then(|pending| pending.token());
            self.token_checks.due.extend(local.identity.map(|identity| identity.token));
            self.token_checks.due.extend(asked);
        }
    }

    pub(super) fn ask_for_tokens(&mut self, now: Now, lanes: &mut Lanes) {
        let checks = &mut self.token_checks;
        if checks.is_asked || checks.due.is_empty() {
            return;
        }
        if checks.retry_at > now {
            let at = checks.retry_at;
            return self.retry(at);
        }
        let tokens: Box<[TokenHash]> = checks.due.iter().take(TOKENS_MAX).copied().collect();
        if lanes.command(Command::CheckTokens { tokens: tokens.clone() }).is_err() {
            return self.retry(now.plus_ms(LANE_RETRY_MS));
        }
        checks.is_asked = true;
        tokens.iter().for_each(|token| {
            checks.due.remove(token);
        });
    }

    /// `outcome`: those of `tokens` that are not valid any more.
    pub(crate) fn tokens_checked(
        &mut self,
        tokens: &[TokenHash],
        outcome: Result<Vec<TokenHash>, StoreDown>,
        cx: &mut Context<'_>,
    ) {
        self.token_checks.is_asked = false;
        match outcome {
            Ok(ended) => ended.into_iter().for_each(|token| self.revoked(token, cx)),
            Err(StoreDown) => {
                self.token_checks.due.extend(tokens);
                self.token_checks.retry_at = cx.engine.now().plus_ms(CHECK_RETRY_MS);
            }
        }
    }
}
