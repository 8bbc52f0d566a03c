//! Whether an AMI is what was said of it, without reading its disk.

use super::Publication;
use crate::ec2::client::ec2::Shares;
use crate::ec2::client::{AwsError, Region};

/// What is other than it was said; nothing when instances can be launched of it as they could when it was published.
///
/// # Errors
/// A call failed.
pub async fn faults(region: &Region, said: &Publication) -> Result<Vec<String>, AwsError> {
    let image = match region.image(&said.image).await {
        Ok(image) => image,
        Err(error) if error.is_not_found() => return Ok(vec!["is gone".to_owned()]),
        Err(error) => return Err(error),
    };
    let mut faults = Vec::new();
    if image.owner != said.account {
        faults.push(format!("belongs to account {}", image.owner));
    }
    if image.state != "available" {
        faults.push(format!("is {}", image.state));
    }
    match image.root_snapshot() {
        Some(snapshot) if snapshot == said.snapshot => match region.snapshot(snapshot).await {
            Ok(found) if found.state == "completed" => {}
            Ok(found) => faults.push(format!("has a snapshot that is {}", found.state)),
            Err(error) if error.is_not_found() => {
                faults.push(format!("has no snapshot any more: {snapshot} is gone"));
            }
            Err(error) => return Err(error),
        },
        Some(other) => faults.push(format!("is of {other}, not of {}", said.snapshot)),
        None => faults.push("has no snapshot".to_owned()),
    }
    let wanted = Shares {
        accounts: said.accounts.clone(),
        organizations: said.organizations.clone(),
    };
    if !wanted.is_empty() && !region.shares_of(&said.image).await?.include(&wanted) {
        faults.push("is not shared any more with all that it was shared with".to_owned());
    }
    Ok(faults)
}
