//! Instance refreshes of Auto Scaling groups, which moto has not.

use std::collections::BTreeMap;

use karat::time::Timestamp;

use super::Inner;
use super::answer::{Answer, Outcome, Refusal};
use super::call::Call;
use super::form::Form;
use super::world::{Progress, Stage};
use super::xml::Node;

/// A refresh of a group.
#[derive(Debug)]
pub struct Refresh {
    id: String,
    progress: Progress,
    cancelled: bool,
    started: String,
}

/// By account, region and group; the newest comes last.
pub type Refreshes = BTreeMap<(String, String, String), Vec<Refresh>>;

impl Refresh {
    fn status(&self) -> &'static str {
        match self.progress.stage() {
            _ if self.cancelled => "Cancelled",
            Stage::Pending => "InProgress",
            Stage::Done => "Successful",
            Stage::Failed => "Failed",
        }
    }

    fn nodes(&self, group: &str) -> Vec<Node> {
        let percent = if self.status() == "Successful" {
            100
        } else {
            0
        };
        vec![
            Node::text("InstanceRefreshId", &self.id),
            Node::text("AutoScalingGroupName", group),
            Node::text("Status", self.status()),
            Node::text("StartTime", &self.started),
            Node::text("PercentageComplete", percent),
        ]
    }
}

/// Auto Scaling's calls about refreshes; `None` for the others.
pub async fn perform(inner: &Inner, call: &Call, fails: bool) -> Option<Outcome> {
    let is_ours = [
        "StartInstanceRefresh",
        "DescribeInstanceRefreshes",
        "CancelInstanceRefresh",
    ];
    if !is_ours.contains(&call.action.as_str()) {
        return None;
    }
    let group = call.form.text("AutoScalingGroupName").to_owned();
    if exists(inner, call, &group).await {
        return Some(about(inner, call, &group, fails));
    }
    let message = "AutoScalingGroup name not found - null";
    Some(Err(Refusal::new("ValidationError", message)))
}

fn about(inner: &Inner, call: &Call, group: &str, fails: bool) -> Outcome {
    let delay = inner.delay(&call.account);
    let key = (call.account.clone(), call.region.clone(), group.to_owned());
    let mut world = inner.world.lock().unwrap();
    let refreshes = world.refreshes.entry(key).or_default();
    let active = refreshes
        .iter_mut()
        .find(|refresh| refresh.status() == "InProgress");
    let result = match (call.action.as_str(), active) {
        ("StartInstanceRefresh", Some(_)) => {
            let message = "An Instance Refresh is already in progress";
            return Err(Refusal::new("InstanceRefreshInProgress", message));
        }
        ("StartInstanceRefresh", None) => {
            let id = super::id::request();
            refreshes.push(Refresh {
                id: id.clone(),
                progress: Progress::after(delay, fails),
                cancelled: false,
                started: Timestamp::now().to_string(),
            });
            Node::text("InstanceRefreshId", id)
        }
        ("CancelInstanceRefresh", Some(refresh)) => {
            refresh.cancelled = true;
            Node::text("InstanceRefreshId", &refresh.id)
        }
        ("CancelInstanceRefresh", None) => {
            let message = "No in progress or pending Instance Refresh found";
            return Err(Refusal::new("ActiveInstanceRefreshNotFound", message));
        }
        _ => {
            let asked = call.form.list("InstanceRefreshIds.member");
            let meant = refreshes.iter().rev();
            let meant = meant.filter(|refresh| asked.is_empty() || asked.contains(&refresh.id));
            let members = meant.map(|refresh| Node::new("member", refresh.nodes(group)));
            Node::new("InstanceRefreshes", members.collect())
        }
    };
    let name = format!("{}Result", call.action);
    let root = Node::new(
        &format!("{}Response", call.action),
        vec![Node::new(&name, vec![result])],
    );
    Ok(Answer::document(
        200,
        &root.with_attributes(" xmlns=\"http://autoscaling.amazonaws.com/doc/2011-01-01/\""),
    ))
}

async fn exists(inner: &Inner, call: &Call, group: &str) -> bool {
    let mut form = Form::default();
    for (name, value) in [
        ("Action", "DescribeAutoScalingGroups"),
        ("Version", "2011-01-01"),
        ("AutoScalingGroupNames.member.1", group),
    ] {
        form.set(name, value);
    }
    let answer = inner
        .ask(&Call {
            form,
            ..call.clone()
        })
        .await;
    String::from_utf8_lossy(&answer.body).contains(&format!("<AutoScalingGroupName>{group}<"))
}
