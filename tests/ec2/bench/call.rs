//! A call as the proxy sees it: whose it is, and which action of which service in which region.

use hyper::HeaderMap;
use hyper::body::Bytes;

use super::answer::Refusal;
use super::form::Form;

/// One call.
#[derive(Clone, Debug)]
pub struct Call {
    pub account: String,
    pub region: String,
    pub service: String,
    /// As the service's documentation names it: `RunInstances`.
    pub action: String,
    pub method: String,
    /// Path and query.
    pub path: String,
    pub headers: HeaderMap,
    pub body: Bytes,
    /// A Query call's parameters; empty in others.
    pub form: Form,
}

/// What an `Authorization` header tells.
pub struct Scope {
    pub access_key: String,
    pub date: String,
    pub region: String,
    pub service: String,
    pub signed_headers: String,
    pub signature: String,
}

impl Scope {
    /// Reads `AWS4-HMAC-SHA256 Credential=KEY/DATE/REGION/SERVICE/aws4_request, ...`.
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let value = headers.get("authorization")?.to_str().ok()?;
        let rest = value.strip_prefix("AWS4-HMAC-SHA256 ")?;
        let part = |name: &str| rest.split_once(name)?.1.split([',', ' ']).next();
        let mut parts = part("Credential=")?.split('/');
        let mut next = || parts.next().map(str::to_owned);
        let (access_key, date) = (next()?, next()?);
        let (region, service) = (next()?, next()?);
        let scope = Self {
            access_key,
            date,
            region,
            service,
            signed_headers: part("SignedHeaders=")?.to_owned(),
            signature: part("Signature=")?.to_owned(),
        };
        (next()? == "aws4_request").then_some(scope)
    }
}

impl Call {
    /// `ec2:RunInstances`
    pub fn name(&self) -> String {
        format!("{}:{}", self.service, self.action)
    }

    pub fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    }

    /// Parameters of the query string.
    pub fn query(&self) -> Form {
        Form::parse(self.path.split_once('?').map_or("", |(_, query)| query))
    }

    /// The path's parts: `/snapshots/snap-1/blocks/7`.
    pub fn parts(&self) -> Vec<String> {
        let path = self.path.split('?').next().unwrap_or_default();
        let parts = path.split('/').filter(|part| !part.is_empty());
        parts.map(str::to_owned).collect()
    }

    /// Another call of the same account in the same region.
    pub fn ec2(account: &str, region: &str, action: &str, parameters: &[(&str, &str)]) -> Self {
        let mut form = Form::default();
        form.set("Action", action);
        form.set("Version", "2016-11-15");
        for (name, value) in parameters {
            form.set(name, value);
        }
        Self {
            account: account.to_owned(),
            region: region.to_owned(),
            service: "ec2".to_owned(),
            action: action.to_owned(),
            method: "POST".to_owned(),
            path: "/".to_owned(),
            headers: HeaderMap::new(),
            body: Bytes::new(),
            form,
        }
    }

    /// Finds out the action, once service and body are known.
    pub fn recognise(&mut self) -> Result<(), Refusal> {
        let target = self.header("x-amz-target").rsplit('.').next();
        let target = target.unwrap_or_default().to_owned();
        self.action = match self.service.as_str() {
            "ebs" => self.ebs_action(),
            _ if !target.is_empty() => target,
            _ => {
                self.form = Form::parse(&String::from_utf8_lossy(&self.body));
                self.form.text("Action").to_owned()
            }
        };
        if self.action.is_empty() && self.service != "s3" {
            return Err(Refusal::new("MissingAction", "the call names no action"));
        }
        Ok(())
    }

    fn ebs_action(&self) -> String {
        let parts = self.parts();
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        let action = match (self.method.as_str(), parts.as_slice()) {
            ("POST", ["snapshots"]) => "StartSnapshot",
            ("POST", ["snapshots", "completion", _]) => "CompleteSnapshot",
            ("PUT", ["snapshots", _, "blocks", _]) => "PutSnapshotBlock",
            ("GET", ["snapshots", _, "blocks", _]) => "GetSnapshotBlock",
            ("GET", ["snapshots", _, "blocks"]) => "ListSnapshotBlocks",
            ("GET", ["snapshots", _, "changedblocks"]) => "ListChangedBlocks",
            _ => "",
        };
        action.to_owned()
    }
}
