//! The way back: the secret as its backup holds it, made anew where there is none.
//!
//! Invariant: a secret that is there is never touched: the platform may have made it.

use std::time::Instant;

use kube::api::{DynamicObject, PostParams};
use scar_cluster::pause;
use scar_tool::{Exit, Failure};
use serde_json::Value;

use crate::backup::Saved;
use crate::removal::{Removal, TRIES};
use crate::secret::Held;

/// What is there of a secret, beside its backup.
enum Way {
    /// It is there as it was.
    There,
    /// Another one is there, and stays.
    Another(Box<Held>),
    /// None is there, or one that goes.
    Back,
}

impl Removal {
    /// Makes the secret of the backup anew, unless one is there.
    ///
    /// # Errors
    /// By class, as removing has them; exit 7 where it reads otherwise than it was written.
    pub(crate) async fn restore(&self, saved: &Saved, dry_run: bool) -> Result<(), Failure> {
        let path = saved.path();
        let mut lost = false;
        for tried in 1.. {
            match self.way(saved).await? {
                Way::There if lost => break,
                Way::There => self.console.note(format!("{} is there, as in its backup", self.what())),
                Way::Another(now) => self.console.note(format!(
                    "{} was made anew (uid {}, at {}): that one stays; the old one is in '{path}'",
                    self.what(),
                    now.uid(),
                    now.created()
                )),
                Way::Back if dry_run => self.console.plan(format!("make {} anew as '{path}' holds it", self.what())),
                Way::Back => match self.create(saved).await {
                    Ok(()) => break,
                    Err(error) => {
                        // It may have been made all the same, by this request or by another: the next look tells.
                        let exists = error.status() == Some(409);
                        if (!exists && !error.is_transient()) || tried >= TRIES {
                            return Err(self.cluster.failure(&format!("restore {}", self.what()), &error));
                        }
                        lost = true;
                        let wait = pause(tried, None);
                        tokio::time::sleep(wait.min(self.deadline.saturating_duration_since(Instant::now()))).await;
                        continue;
                    }
                },
            }
            return Ok(());
        }
        match self.look().await? {
            Some(now) if saved.is(&now) => self.console.note(format!("{} is as it was, from '{path}'", self.what())),
            _ => {
                let cause = format!("restore {}: it reads otherwise than it was written", self.what());
                return Err(Failure::new(Exit::Mismatch, cause).hint("find out what writes to it, then run this step again"));
            }
        }
        Ok(())
    }

    async fn way(&self, saved: &Saved) -> Result<Way, Failure> {
        Ok(match self.look().await? {
            None => {
                self.absent(false).await?;
                Way::Back
            }
            Some(now) if now.is_going() => {
                self.gone(&now).await?;
                Way::Back
            }
            Some(now) if saved.is(&now) => Way::There,
            Some(now) => Way::Another(Box::new(now)),
        })
    }

    async fn create(&self, saved: &Saved) -> Result<(), scar_cluster::Error> {
        let object: DynamicObject = saved.object();
        let parameters = PostParams::default();
        self.cluster.once(self.deadline, self.api.create(&parameters, &object)).await.map(|_: DynamicObject| ())
    }
}

/// Whether two secrets hold the same, whoever made them.
pub(crate) fn same(a: &Value, b: &Value) -> bool {
    let content = |secret: &Value| {
        let mut content = secret.clone();
        content.as_object_mut().map(|fields| fields.remove("metadata"));
        content
    };
    content(a) == content(b)
}
