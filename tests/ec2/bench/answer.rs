//! Answers and refusals, in the form that each service gives them.

use serde_json::{Value, json};

use super::xml::Node;

/// An HTTP answer.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    /// EC2's answer to an action.
    pub fn xml(action: &str, mut children: Vec<Node>) -> Self {
        children.insert(0, Node::text("requestId", super::id::request()));
        let root = Node::new(&format!("{action}Response"), children)
            .with_attributes(" xmlns=\"http://ec2.amazonaws.com/doc/2016-11-15/\"");
        Self::document(200, &root)
    }

    /// EC2's answer to an action that has nothing to tell.
    pub fn done(action: &str) -> Self {
        Self::xml(action, vec![Node::text("return", true)])
    }

    pub fn document(status: u16, root: &Node) -> Self {
        Self {
            status,
            headers: vec![("content-type".into(), "text/xml;charset=UTF-8".into())],
            body: root.print().into_bytes(),
        }
    }

    pub fn json(status: u16, value: &Value) -> Self {
        Self {
            status,
            headers: vec![("content-type".into(), "application/x-amz-json-1.1".into())],
            body: value.to_string().into_bytes(),
        }
    }

    #[expect(
        clippy::needless_pass_by_value,
        reason = "callers have numbers and texts of all kinds"
    )]
    pub fn with(mut self, header: &str, value: impl ToString) -> Self {
        self.headers.push((header.to_owned(), value.to_string()));
        self
    }
}

/// An error as a service tells it.
#[derive(Clone, Debug)]
pub struct Refusal {
    pub status: u16,
    pub code: String,
    pub message: String,
    /// EBS direct APIs say more than a code.
    pub reason: Option<&'static str>,
}

impl Refusal {
    pub fn new(code: &str, message: impl ToString) -> Self {
        Self::status(400, code, message)
    }

    #[expect(
        clippy::needless_pass_by_value,
        reason = "callers have numbers and texts of all kinds"
    )]
    pub fn status(status: u16, code: &str, message: impl ToString) -> Self {
        Self {
            status,
            code: code.to_owned(),
            message: message.to_string(),
            reason: None,
        }
    }

    pub fn because(mut self, reason: &'static str) -> Self {
        self.reason = Some(reason);
        self
    }

    /// The answer of a service.
    pub fn answer(&self, service: &str) -> Answer {
        match service {
            "ec2" => Answer::document(self.status, &self.ec2()),
            "ebs" | "ssm" | "s3" => self.json(),
            _ => Answer::document(self.status, &self.query()),
        }
    }

    fn ec2(&self) -> Node {
        let error = vec![
            Node::text("Code", &self.code),
            Node::text("Message", &self.message),
        ];
        let children = vec![
            Node::new("Errors", vec![Node::new("Error", error)]),
            Node::text("RequestID", super::id::request()),
        ];
        Node::new("Response", children)
    }

    fn query(&self) -> Node {
        let error = vec![
            Node::text(
                "Type",
                if self.status < 500 {
                    "Sender"
                } else {
                    "Receiver"
                },
            ),
            Node::text("Code", &self.code),
            Node::text("Message", &self.message),
        ];
        let children = vec![
            Node::new("Error", error),
            Node::text("RequestId", super::id::request()),
        ];
        Node::new("ErrorResponse", children)
    }

    fn json(&self) -> Answer {
        let mut body = json!({
            "__type": self.code, "message": self.message, "Message": self.message,
        });
        if let Some(reason) = self.reason {
            body["Reason"] = json!(reason);
        }
        Answer::json(self.status, &body).with("x-amzn-ErrorType", &self.code)
    }
}

/// What a call comes to.
pub type Outcome = Result<Answer, Refusal>;
