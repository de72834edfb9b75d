//! The tokens of one run, of which none is lost or doubled.

use annulus_contract::wire::End;

/// How far a run's tokens have come.
pub(super) struct Flow {
    pub run: u32,
    /// Index of the token that comes next.
    pub next: u32,
    /// The board knows that the tokens before this one have come.
    pub acknowledged: u32,
    /// A gap before this token has been complained of.
    complained: Option<u32>,
}

/// What a frame of tokens has brought.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fresh {
    /// Tokens that had not come before.
    pub tokens: Vec<u16>,
    /// Why there are no more, if all are there.
    pub end: Option<End>,
    /// Something before these tokens is missing, for the first time.
    pub lost: bool,
}

impl Flow {
    pub fn new(run: u32) -> Self {
        Flow {
            run,
            next: 0,
            acknowledged: 0,
            complained: None,
        }
    }

    /// Takes a frame's tokens, of which `first` is the index of the first.
    pub fn take(&mut self, first: u32, mut tokens: Vec<u16>, end: Option<End>) -> Fresh {
        let Some(known) = self.next.checked_sub(first) else {
            let lost = self.complained != Some(self.next);
            self.complained = Some(self.next);
            return Fresh {
                tokens: vec![],
                end: None,
                lost,
            };
        };
        let all = first.saturating_add(tokens.len() as u32);
        tokens.drain(..tokens.len().min(known as usize));
        self.next = self.next.max(all);
        Fresh {
            tokens,
            end: end.filter(|_| all == self.next),
            lost: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fresh(tokens: &[u16], end: Option<End>, lost: bool) -> Fresh {
        let tokens = tokens.to_vec();
        Fresh { tokens, end, lost }
    }

    #[test]
    fn repeats_and_gaps() {
        let mut flow = Flow::new(1);
        assert_eq!(flow.take(0, vec![5, 6], None), fresh(&[5, 6], None, false));
        assert_eq!(flow.take(0, vec![5, 6, 7], None), fresh(&[7], None, false));
        assert_eq!(
            flow.take(0, vec![5], Some(End::Stop)),
            fresh(&[], None, false)
        );
        assert_eq!(flow.take(5, vec![1], None), fresh(&[], None, true));
        assert_eq!(flow.take(6, vec![1], None), fresh(&[], None, false));
        let end = Some(End::Count);
        assert_eq!(flow.take(2, vec![7, 8], end), fresh(&[8], end, false));
        assert_eq!(flow.take(4, vec![], end), fresh(&[], end, false));
        assert_eq!(flow.next, 4);
    }
}
