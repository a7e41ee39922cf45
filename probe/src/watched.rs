//! Futures of components, and what is to be done when they end.
//!
//! A trait of `async_trait` hands out boxed futures; to see how one ends takes another box around it: one allocation of
//! the wrapper's beside those that the component makes itself. What need not be seen is handed on as it is.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

/// What a method of an `async_trait` gives.
pub(crate) type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A component's future that calls `end` with what it came to, or with `None` when it is dropped before, or panics.
pub(crate) struct Watched<'a, T, F: FnOnce(Option<&T>)> {
    inner: Boxed<'a, T>,
    end: Option<F>,
}

impl<'a, T: 'a, F: FnOnce(Option<&T>) + Send + Unpin + 'a> Watched<'a, T, F> {
    pub(crate) fn boxed(inner: Boxed<'a, T>, end: F) -> Boxed<'a, T> {
        Box::pin(Self { inner, end: Some(end) })
    }
}

impl<T, F: FnOnce(Option<&T>) + Unpin> Future for Watched<'_, T, F> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        let polled = self.inner.as_mut().poll(context);
        if let (Poll::Ready(came_to), Some(end)) = (&polled, self.end.take_if(|_| polled.is_ready())) {
            end(Some(came_to));
        }
        polled
    }
}

impl<T, F: FnOnce(Option<&T>)> Drop for Watched<'_, T, F> {
    fn drop(&mut self) {
        if let Some(end) = self.end.take() {
            end(None);
        }
    }
}
