//! Reading a task's lines as a stream: from when, until when, how many, and whether to go on.
//!
//! Back-pressure is the consumer's: nothing is read ahead but one chunk, no task is spawned.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::time::Duration;

use futures::stream::{self, BoxStream, StreamExt};
use serde::{Deserialize, Serialize};
use swarm_model::units::Timestamp;

use super::cursor::{Ahead, Cursor, End, Filter};
use super::line::LogLine;
use super::store::{Error, blocking};

/// How often a follower looks for new lines.
const FOLLOW_POLL: Duration = Duration::from_millis(100);

/// Which lines are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct LogQuery {
    /// Not earlier than this.
    pub since: Option<Timestamp>,
    /// Not later than this.
    pub until: Option<Timestamp>,
    /// Only the last so many; all that are kept when `None`.
    pub tail: Option<usize>,
    /// Go on with new lines until the task has ended or `until` has passed.
    pub follow: bool,
}

struct Reader {
    dir: PathBuf,
    query: LogQuery,
    cursor: Option<Cursor>,
    lines: VecDeque<LogLine>,
}

/// Lines of the ring in `dir`, in the order of writing.
pub(super) fn run(dir: PathBuf, query: LogQuery) -> BoxStream<'static, Result<LogLine, Error>> {
    let reader = Reader { dir, query, cursor: None, lines: VecDeque::new() };
    stream::try_unfold(reader, |mut reader| async move {
        loop {
            if let Some(line) = reader.lines.pop_front() {
                return Ok(Some((line, reader)));
            }
            let ahead;
            (reader, ahead) = blocking(move || reader.advance()).await?;
            match ahead {
                Ahead::End => return Ok(None),
                Ahead::Wait if !reader.query.follow => return Ok(None),
                Ahead::Wait => tokio::time::sleep(FOLLOW_POLL).await,
                Ahead::More => {}
            }
        }
    })
    .boxed()
}

impl Reader {
    /// Reads until there are lines or nothing is left for now.
    fn advance(mut self) -> Result<(Self, Ahead), Error> {
        let failed = |dir: &PathBuf, source| Error::Read { dir: dir.clone(), source };
        let mut cursor = match self.cursor.take() {
            Some(cursor) => cursor,
            None => self.begin().map_err(|source| failed(&self.dir, source))?,
        };
        let mut ahead = Ahead::More;
        while ahead == Ahead::More && self.lines.is_empty() {
            ahead = cursor.read(&mut self.lines).map_err(|source| failed(&self.dir, source))?;
        }
        if !self.lines.is_empty() {
            ahead = Ahead::More;
        }
        self.cursor = Some(cursor);
        Ok((self, ahead))
    }

    fn begin(&self) -> std::io::Result<Cursor> {
        let LogQuery { since, until, tail, follow } = self.query;
        let filter = Filter { since, until };
        // Who does not follow gets what is there now, not what is written while it is read.
        let end = if follow { None } else { Some(End::of(&self.dir)?) };
        match tail {
            Some(count) => Cursor::at_tail(self.dir.clone(), filter, count, end),
            None => Ok(Cursor::at_start(self.dir.clone(), filter, end)),
        }
    }
}
