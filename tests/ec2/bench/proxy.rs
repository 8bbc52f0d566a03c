//! The proxy: reads calls, has faults happen, carries calls out, and writes down what came of them.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::{Body as _, Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};

use super::account::Logged;
use super::answer::{Answer, Outcome, Refusal};
use super::call::{Call, Scope};
use super::faults::{Fate, Fault};
use super::form::Form;
use super::{Inner, actions, signature};

/// Serves until the process ends.
pub async fn serve(listener: TcpListener, inner: Arc<Inner>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        tokio::spawn(connection(stream, Arc::clone(&inner)));
    }
}

async fn connection(stream: TcpStream, inner: Arc<Inner>) {
    let service = service_fn(|request| {
        let inner = Arc::clone(&inner);
        async move {
            // A task of its own: what has begun is carried out even if the caller goes away.
            let done = tokio::spawn(async move { answer(&inner, request).await });
            done.await
                .unwrap_or_else(|panic| Err(io::Error::other(panic)))
        }
    });
    let _ended = http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

/// An error ends the connection without an answer.
async fn answer(
    inner: &Arc<Inner>,
    request: Request<Incoming>,
) -> io::Result<Response<reqwest::Body>> {
    let (head, body) = request.into_parts();
    let service = Scope::of(&head.headers).map(|scope| scope.service);
    let service = service.unwrap_or_else(|| "ec2".to_owned());
    let body = read(body).await?;
    let path = head.uri.path_and_query();
    let mut call = Call {
        account: String::new(),
        region: String::new(),
        service: service.clone(),
        action: String::new(),
        method: head.method.to_string(),
        path: path.map_or("/", |path| path.as_str()).to_owned(),
        headers: head.headers,
        body,
        form: Form::default(),
    };
    match authenticate(inner, &mut call) {
        Ok(()) => carry_out(inner, call).await.map(response),
        Err(refusal) => {
            // Nobody tests for this by accident: say what is wrong.
            eprintln!(
                "the bench refuses a call to {}: {}",
                call.path, refusal.message
            );
            Ok(response(refusal.answer(&service)))
        }
    }
}

/// Finds out whose call it is, and what it is.
fn authenticate(inner: &Inner, call: &mut Call) -> Result<(), Refusal> {
    let Some(scope) = Scope::of(&call.headers) else {
        let message = "Request is missing Authentication Token";
        return Err(Refusal::status(403, "MissingAuthenticationToken", message));
    };
    call.region.clone_from(&scope.region);
    call.recognise()?;
    let (account, key) = inner.account_of(&scope.access_key)?;
    call.account = account;
    let session = call.header("x-amz-security-token");
    let checked = if session == key.session.as_deref().unwrap_or_default() {
        signature::check(call, &scope, &key.secret)
    } else {
        Err("the key is used with another session token".to_owned())
    };
    checked.map_err(|why| {
        let (status, code) = match call.service.as_str() {
            "ec2" => (401, "AuthFailure"),
            "ebs" => (403, "InvalidSignatureException"),
            "ssm" => (400, "InvalidSignatureException"),
            _ => (403, "SignatureDoesNotMatch"),
        };
        Refusal::status(status, code, why)
    })
}

async fn read(mut body: Incoming) -> io::Result<Bytes> {
    let mut bytes = Vec::new();
    while let Some(frame) =
        std::future::poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await
    {
        if let Ok(data) = frame.map_err(io::Error::other)?.into_data() {
            bytes.extend_from_slice(&data);
        }
    }
    Ok(bytes.into())
}

fn response(answer: Answer) -> Response<reqwest::Body> {
    let mut response = Response::builder().status(answer.status);
    for (name, value) in answer.headers {
        response = response.header(name, value);
    }
    response
        .body(answer.body.into())
        .expect("headers are those of an answer")
}

async fn carry_out(inner: &Arc<Inner>, call: Call) -> io::Result<Answer> {
    let (fate, entry) = arrive(inner, &call);
    let Fate {
        fault,
        before,
        after,
    } = fate;
    run(before).await?;
    let outcome = match &fault {
        Some(Fault::DropBefore) => return Err(io::ErrorKind::ConnectionAborted.into()),
        Some(Fault::Hang) => return std::future::pending().await,
        Some(fault) => match fault.refusal(&call) {
            Some(refusal) => Err(refusal),
            None => perform(inner, &call, *fault == Fault::Fails).await,
        },
        None => perform(inner, &call, false).await,
    };
    run(after).await?;
    if fault == Some(Fault::DropAfter) {
        return Err(io::ErrorKind::ConnectionAborted.into());
    }
    let answer = outcome.unwrap_or_else(|refusal| refusal.answer(&call.service));
    let mut accounts = inner.accounts.lock().unwrap();
    if let Some(record) = accounts.get_mut(&call.account) {
        record.calls[entry].status = Some(answer.status);
    }
    Ok(answer)
}

async fn perform(inner: &Arc<Inner>, call: &Call, fails: bool) -> Outcome {
    actions::perform(inner, call, fails).await
}

/// Writes a call down. What it returns besides is where.
fn arrive(inner: &Inner, call: &Call) -> (Fate, usize) {
    let place = (call.account.clone(), call.region.clone());
    inner.world.lock().unwrap().regions.insert(place);
    let mut accounts = inner.accounts.lock().unwrap();
    let record = accounts
        .get_mut(&call.account)
        .expect("the call is of an account");
    record.calls.push(Logged {
        name: call.name(),
        region: call.region.clone(),
        status: None,
        at: record.made.elapsed(),
        form: call.form.clone(),
        path: call.path.clone(),
    });
    (record.plan.meet(call), record.calls.len() - 1)
}

/// Hooks of tests may block.
async fn run(hooks: Vec<Arc<dyn Fn() + Send + Sync>>) -> io::Result<()> {
    for hook in hooks {
        tokio::task::spawn_blocking(move || hook())
            .await
            .map_err(io::Error::other)?;
    }
    Ok(())
}
