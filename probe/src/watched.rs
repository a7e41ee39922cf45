//! A future that observes the end of a component's future.
//!
//! Traits of `async_trait` return boxed futures. To observe the end of one takes a second box, hence one allocation more.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

/// The result of a method of an `async_trait`.
pub(crate) type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A future that calls `end` with its output, or with `None` if it panics or is dropped before its end.
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
        if let (Poll::Ready(output), Some(end)) = (&polled, self.end.take_if(|_| polled.is_ready())) {
            end(Some(output));
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
