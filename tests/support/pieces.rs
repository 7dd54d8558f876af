//! The body of an answer that comes in pieces, late, or not to its end.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::body::{Body, Bytes, Frame, SizeHint};
use tokio::time::{Sleep, sleep};

/// How it ends after its last piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Done,
    Never,
    Reset,
}

/// A request that is being answered; it counts until this is dropped.
pub struct InFlight(Arc<AtomicUsize>);

impl InFlight {
    pub fn of(now: &Arc<AtomicUsize>, most: &AtomicUsize) -> InFlight {
        most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        InFlight(now.clone())
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

pub struct Pieces {
    left: VecDeque<Bytes>,
    pause: Duration,
    sleeping: Option<Pin<Box<Sleep>>>,
    end: End,
    in_flight: Option<InFlight>,
}

impl Pieces {
    pub fn new(body: Bytes, in_flight: InFlight) -> Pieces {
        let left = if body.is_empty() {
            VecDeque::new()
        } else {
            [body].into()
        };
        Pieces {
            left,
            pause: Duration::ZERO,
            sleeping: None,
            end: End::Done,
            in_flight: Some(in_flight),
        }
    }

    pub fn size(&self) -> usize {
        self.left.iter().map(Bytes::len).sum()
    }

    /// Only the beginning, and then this.
    pub fn only(mut self, size: usize, end: End) -> Pieces {
        let whole = self.left.pop_front().unwrap_or_default();
        self.left = [whole.slice(..size)]
            .into_iter()
            .filter(|piece| !piece.is_empty())
            .collect();
        self.end = end;
        self
    }

    /// In so many pieces over this time.
    pub fn over(mut self, pieces: usize, time: Duration) -> Pieces {
        let whole: Bytes = self.left.drain(..).next().unwrap_or_default();
        let size = whole.len().div_ceil(pieces).max(1);
        self.left = whole.chunks(size).map(Bytes::copy_from_slice).collect();
        self.pause = time / u32::try_from(self.left.len().max(1)).expect("few pieces");
        self
    }
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if !self.pause.is_zero() && !self.left.is_empty() {
            let pause = self.pause;
            let sleeping = self.sleeping.get_or_insert_with(|| Box::pin(sleep(pause)));
            if sleeping.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            self.sleeping = None;
        }
        match (self.left.pop_front(), self.end) {
            (Some(piece), end) => {
                if self.left.is_empty() && end == End::Done {
                    // Before the last byte leaves: the client must not be faster than the count.
                    self.in_flight = None;
                }
                Poll::Ready(Some(Ok(Frame::data(piece))))
            }
            (None, End::Done) => {
                self.in_flight = None;
                Poll::Ready(None)
            }
            (None, End::Never) => Poll::Pending,
            (None, End::Reset) => Poll::Ready(Some(Err(io::ErrorKind::ConnectionReset.into()))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.left.is_empty() && self.end == End::Done
    }

    fn size_hint(&self) -> SizeHint {
        match self.end {
            End::Done => SizeHint::with_exact(self.size() as u64),
            End::Never | End::Reset => SizeHint::default(),
        }
    }
}
