//! Requests to origins that a call was granted. Each origin needs its requirement.
//!
//! Each request is decided on by the host as it is sent. Redirects are not followed: they come back as they are, and
//! following one is a new request.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::secrets::Secret;
use crate::Error;
use crate::bindings::tollgate::plugin::http;

/// The right to send requests within one requirement, for this call.
#[derive(Debug)]
pub struct Origin(http::Origin);

/// Opens the requirement of this name.
pub fn open(name: &str) -> Result<Origin, Error> {
    http::open(name).map(Origin).map_err(Error::from_host)
}

impl Origin {
    /// The same as [`open`].
    pub fn open(name: &str) -> Result<Self, Error> {
        open(name)
    }

    /// A request with this method (in capitals) to this absolute URL.
    pub fn request(&self, method: &str, url: impl Into<String>) -> Request<'_> {
        Request {
            origin: self,
            request: http::Request {
                method: method.to_owned(),
                url: url.into(),
                headers: Vec::new(),
                body: None,
            },
            credentials: Vec::new(),
            fault: None,
        }
    }

    /// A `GET`.
    pub fn get(&self, url: impl Into<String>) -> Request<'_> {
        self.request("GET", url)
    }

    /// A `POST`.
    pub fn post(&self, url: impl Into<String>) -> Request<'_> {
        self.request("POST", url)
    }

    /// A `PUT`.
    pub fn put(&self, url: impl Into<String>) -> Request<'_> {
        self.request("PUT", url)
    }

    /// A `PATCH`.
    pub fn patch(&self, url: impl Into<String>) -> Request<'_> {
        self.request("PATCH", url)
    }

    /// A `DELETE`.
    pub fn delete(&self, url: impl Into<String>) -> Request<'_> {
        self.request("DELETE", url)
    }
}

/// A request that is being built.
#[derive(Debug)]
#[must_use = "a request does nothing until it is sent"]
pub struct Request<'a> {
    origin: &'a Origin,
    request: http::Request,
    credentials: Vec<(&'a Secret, http::Scheme)>,
    fault: Option<Error>,
}

impl<'a> Request<'a> {
    /// Adds a header. Those that belong to the host (`host`, `content-length`, ...) are refused.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.request.headers.push((name.into(), value.into()));
        self
    }

    /// Sets the body.
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.request.body = Some(body.into());
        self
    }

    /// Sets the body to this value as JSON, and the content type.
    pub fn json(mut self, body: &impl Serialize) -> Self {
        match serde_json::to_vec(body) {
            Ok(body) => self.request.body = Some(body),
            Err(error) => self.fault = Some(error.into()),
        }
        self.header("content-type", "application/json")
    }

    /// The host adds `authorization: Bearer <value>`.
    pub fn bearer(self, secret: &'a Secret) -> Self {
        self.credential(secret, http::Scheme::Bearer)
    }

    /// The host adds `authorization: Basic ...` with this user name.
    pub fn basic(self, user: impl Into<String>, secret: &'a Secret) -> Self {
        self.credential(secret, http::Scheme::Basic(user.into()))
    }

    /// The host adds the value as the header of this name.
    pub fn secret_header(self, name: impl Into<String>, secret: &'a Secret) -> Self {
        self.credential(secret, http::Scheme::Header(name.into()))
    }

    /// The host adds the value as the query parameter of this name. Only where policy allows.
    pub fn secret_query(self, name: impl Into<String>, secret: &'a Secret) -> Self {
        self.credential(secret, http::Scheme::Query(name.into()))
    }

    /// The host signs exactly this request with AWS Signature Version 4, for this region and service. Neither the key
    /// nor the signature passes through the plugin. It has to be the request's only credential.
    pub fn sign_aws(
        self,
        secret: &'a Secret,
        region: impl Into<String>,
        service: impl Into<String>,
    ) -> Self {
        let scope = http::AwsScope {
            region: region.into(),
            service: service.into(),
        };
        self.credential(secret, http::Scheme::Sign(http::Signing::AwsSigv4(scope)))
    }

    fn credential(mut self, secret: &'a Secret, scheme: http::Scheme) -> Self {
        self.credentials.push((secret, scheme));
        self
    }

    /// Sends it and reads the whole response.
    pub fn send(self) -> Result<Response, Error> {
        if let Some(fault) = self.fault {
            return Err(fault);
        }
        let credentials: Vec<http::Credential<'_>> = self
            .credentials
            .into_iter()
            .map(|(secret, scheme)| http::Credential {
                secret: &secret.0,
                scheme,
            })
            .collect();
        let response = self
            .origin
            .0
            .send(&self.request, &credentials)
            .map_err(Error::from_host)?;
        Ok(Response {
            status: response.status,
            headers: response.headers,
            body: response.body,
        })
    }
}

/// A response.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// In order of arrival.
    pub headers: Vec<(String, String)>,
    /// As it came; lent secrets are redacted.
    pub body: Vec<u8>,
}

impl Response {
    /// A response, for tests of what reads one.
    #[must_use]
    pub fn new(status: u16, headers: Vec<(String, String)>, body: Vec<u8>) -> Self {
        Self {
            status,
            headers,
            body,
        }
    }

    /// Whether the status is 2xx.
    #[must_use]
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The first header of this name, in any case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(header, _)| header.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// The body as text; what is not UTF-8 is replaced.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as a value of this type.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Error> {
        serde_json::from_slice(&self.body).map_err(|error| {
            Error::failed(format_args!(
                "the response is not the JSON expected: {error}"
            ))
        })
    }

    /// Itself where the status is 2xx, an error that names the status otherwise.
    pub fn success(self) -> Result<Self, Error> {
        if self.is_success() {
            Ok(self)
        } else {
            Err(Error::failed(format_args!(
                "the server answered {}",
                self.status
            )))
        }
    }
}
