//! Check of an AMI against its recorded publication, without reading its disk.

use super::Publication;
use crate::ec2::client::ec2::{Shares, images, snapshots};
use crate::ec2::client::{AwsError, Region};

/// Returns the differences of an AMI from its publication; none if instances can be launched from it as when it was published.
pub async fn differences(region: &Region, said: &Publication) -> Result<Vec<String>, AwsError> {
    let image = match images::get(region, &said.image).await {
        Ok(image) => image,
        Err(error) if error.is_not_found() => return Ok(vec!["is gone".to_owned()]),
        Err(error) => return Err(error),
    };
    let mut differences = Vec::new();
    if image.owner != said.account {
        differences.push(format!("belongs to account {}", image.owner));
    }
    if image.state != "available" {
        differences.push(format!("is {}", image.state));
    }
    match image.root_snapshot() {
        Some(snapshot) if snapshot == said.snapshot => match snapshots::get(region, snapshot).await
        {
            Ok(found) if found.state == "completed" => {}
            Ok(found) => differences.push(format!("has a snapshot that is {}", found.state)),
            Err(error) if error.is_not_found() => {
                differences.push(format!("lost its snapshot: {snapshot} is gone"));
            }
            Err(error) => return Err(error),
        },
        Some(other) => differences.push(format!("has snapshot {other}, not {}", said.snapshot)),
        None => differences.push("has no snapshot".to_owned()),
    }
    let wanted = Shares {
        accounts: said.accounts.clone(),
        organizations: said.organizations.clone(),
    };
    if !wanted.is_empty() && !images::shares(region, &said.image).await?.include(&wanted) {
        differences.push("is no longer shared with everyone it was shared with".to_owned());
    }
    Ok(differences)
}
