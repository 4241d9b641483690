//! When a call is tried again, and after how long.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::time::Duration;

use tonic::{Code, Status};

/// The longest pause between two attempts, whatever is asked for: a build waits for it.
const PAUSE_MAX: Duration = Duration::from_secs(10);

/// What a call carries at least, in bytes per second: eight full batches at once do on a way of two megabits.
const BYTES_PER_SECOND_MIN: u64 = 32 << 10;

/// How often a call is tried, how long the pauses are between, and how long each attempt may take.
#[derive(Clone, Copy, Debug)]
pub struct Retry {
    /// How often, in all.
    pub attempts: u32,
    /// The first pause; each is twice as long as the one before.
    pub first_pause: Duration,
    /// How long an answer in one piece may take, beside what its bytes and those of the question take on the way.
    pub answer_time_max: Duration,
    /// How long a stream may stand still.
    pub silence_max: Duration,
}

impl Default for Retry {
    /// Within three seconds or so: a server that is started again is back by then, and one that is gone is gone. Whoever
    /// only does not answer may have much to do, more so at the end of a large blob.
    fn default() -> Self {
        Self {
            attempts: 5,
            first_pause: Duration::from_millis(200),
            answer_time_max: Duration::from_secs(30),
            silence_max: Duration::from_secs(60),
        }
    }
}

impl Retry {
    /// Returns how long an answer may take if so many bytes go and come.
    pub(super) fn answer_time(&self, bytes: u64) -> Duration {
        self.answer_time_max + Duration::from_secs(bytes / BYTES_PER_SECOND_MIN)
    }

    /// Returns what is left of it for one call.
    pub(super) fn begin(self) -> Pauses {
        Pauses { retry: self, left: self.attempts.saturating_sub(1), next: self.first_pause }
    }
}

/// The pauses of one call.
pub(super) struct Pauses {
    retry: Retry,
    left: u32,
    next: Duration,
}

impl Pauses {
    /// Returns how long to wait after that answer; `None` if it stands.
    pub(super) fn after(&mut self, status: &Status) -> Option<Duration> {
        if !is_transient(status.code()) || self.left == 0 {
            return None;
        }
        // Whoever does not answer at all has cost much already.
        self.left -= if status.code() == Code::DeadlineExceeded { self.left } else { 1 };
        let asked = wire::details::retry_delay(status.details()).unwrap_or_default();
        let pause = self.next;
        self.next = (self.next * 2).min(PAUSE_MAX);
        // Many who failed at the same time do not come again at the same time.
        let pause = pause / 2 + pause.mul_f64(random_fraction() / 2.0);
        Some(pause.max(asked).min(PAUSE_MAX))
    }

    /// Begins anew: something has come.
    pub(super) fn restart(&mut self) {
        *self = self.retry.begin();
    }
}

fn random_fraction() -> f64 {
    let random = RandomState::new().build_hasher().finish() >> 32;
    f64::from(u32::try_from(random).expect("half of its bits are left")) / f64::from(u32::MAX)
}

/// Returns whether the same call may succeed if it is made again.
pub(super) fn is_transient(code: Code) -> bool {
    match code {
        // Unknown and internal: what breaks below gRPC looks like that, and all that is called can be called again.
        Code::Unavailable
        | Code::ResourceExhausted
        | Code::Aborted
        | Code::Cancelled
        | Code::DeadlineExceeded
        | Code::Internal
        | Code::Unknown => true,
        Code::Ok
        | Code::InvalidArgument
        | Code::NotFound
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::FailedPrecondition
        | Code::OutOfRange
        | Code::Unimplemented
        | Code::DataLoss
        | Code::Unauthenticated => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_end() {
        let first_pause = Duration::from_millis(100);
        let retry = Retry { attempts: 4, first_pause, ..Retry::default() };
        let mut pauses = retry.begin();
        let status = Status::unavailable("");
        for bound in [100, 200, 400] {
            let pause = pauses.after(&status).unwrap();
            assert!((bound / 2..=bound).contains(&pause.as_millis()), "{pause:?} of {bound}");
        }
        assert_eq!(pauses.after(&status), None);
        pauses.restart();
        assert!(pauses.after(&status).is_some());
    }

    #[test]
    fn what_stands_is_not_tried_again_and_what_takes_too_long_once() {
        let retry = Retry::default();
        for code in [Code::NotFound, Code::PermissionDenied, Code::InvalidArgument, Code::DataLoss]
        {
            assert_eq!(retry.begin().after(&Status::new(code, "")), None);
        }
        let mut pauses = retry.begin();
        assert!(pauses.after(&Status::deadline_exceeded("")).is_some());
        assert_eq!(pauses.after(&Status::deadline_exceeded("")), None);
    }

    #[test]
    fn full_batches_have_time_on_a_slow_way() {
        let retry = Retry::default();
        assert_eq!(retry.answer_time(0), Duration::from_secs(30));
        let bits_each_second = 8 * 4_000_000 * 8 / retry.answer_time(4_000_000).as_secs();
        assert!(bits_each_second < 2_000_000, "eight at once need {bits_each_second}");
    }

    #[test]
    fn a_pause_that_is_asked_for_is_made_but_not_for_ever() {
        let asked = |seconds| {
            let delay = Duration::from_secs(seconds);
            let details = wire::details::retry(8, "", delay);
            let status = Status::with_details(Code::ResourceExhausted, "", details);
            Retry::default().begin().after(&status).unwrap()
        };
        assert_eq!(asked(3), Duration::from_secs(3));
        assert_eq!(asked(3600), PAUSE_MAX);
    }
}
