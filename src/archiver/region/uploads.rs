//! The multipart uploads of one key that were begun and not ended, as the bucket lists them. For what
//! nobody has noted the name of: `object_store` begins uploads and cannot list them, so the request is
//! made here, and signed with its own authorizer.
//!
//! What comes is the store's word: it is capped, and what is of another key is passed over.

use super::bucket::{Trouble, cut, endpoint, unusable};
use super::settings::Region;
use object_store::aws::{AwsAuthorizer, AwsCredential};
use object_store::client::HttpRequestBody;
use reqwest::StatusCode;
use reqwest::redirect::Policy;
use serde::Deserialize;
use url::Url;

/// The longest page, in bytes: a thousand uploads are a quarter of it.
const MAX_PAGE: usize = 4 << 20;
/// Pages of one listing that are asked for.
const MAX_PAGES: usize = 10;
/// Uploads of one key that are told of at once.
const MAX_UPLOADS: usize = 1000;

/// What lists the uploads of a bucket.
pub(super) struct Uploads {
    client: reqwest::Client,
    credential: AwsCredential,
    signing_region: String,
    bucket: Url,
}

/// Why there is no list.
pub(super) enum Unlisted {
    /// It cannot be had: the key may not ask, or the store does not know how to answer.
    Unable(String),
    /// It did not come this time.
    Trouble(Trouble),
}

/// `ListMultipartUploadsResult` of the S3 API.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Page {
    #[serde(default, rename = "Upload")]
    uploads: Vec<Upload>,
    #[serde(default)]
    is_truncated: bool,
    next_key_marker: Option<String>,
    next_upload_id_marker: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Upload {
    key: String,
    upload_id: String,
}

impl Uploads {
    /// Over the certificates of `trusted`, PEM, besides those of the system.
    pub(super) fn new(settings: &Region, trusted: &[u8], key_id: String, secret_key: String) -> Result<Self, Trouble> {
        let mut bucket = Url::parse(&endpoint(settings)).map_err(|error| unusable(&error))?;
        if settings.path_style {
            let joined = format!("{}/{}", bucket.path().trim_end_matches('/'), settings.bucket);
            bucket.set_path(&joined);
        }
        let client = reqwest::Client::builder()
            .redirect(Policy::none())
            .connect_timeout(settings.connect_timeout)
            .timeout(settings.timeout.min(settings.connect_timeout * 2))
            .tls_certs_merge(reqwest::Certificate::from_pem_bundle(trusted).map_err(|error| unusable(&error))?)
            .build()
            .map_err(|error| unusable(&error))?;
        let credential = AwsCredential { key_id, secret_key, token: None };
        Ok(Self { client, credential, signing_region: settings.signing_region.clone(), bucket })
    }

    /// The names of the uploads of exactly this key.
    pub(super) async fn of(&self, key: &str) -> Result<Vec<String>, Unlisted> {
        let (mut names, mut after) = (Vec::new(), None);
        for _ in 0..MAX_PAGES {
            let page = self.page(key, after.as_ref()).await?;
            let (ours, others): (Vec<_>, Vec<_>) = page.uploads.into_iter().partition(|upload| upload.key == key);
            names.extend(ours.into_iter().map(|upload| upload.upload_id).filter(|name| !name.is_empty()));
            names.truncate(MAX_UPLOADS);
            let next = page.next_key_marker.zip(page.next_upload_id_marker).filter(|(key, _)| !key.is_empty());
            // Keys come in order, and all of this one's before those that it is the beginning of.
            if !page.is_truncated || !others.is_empty() || next.is_none() || next == after {
                break;
            }
            after = next;
        }
        Ok(names)
    }

    async fn page(&self, key: &str, after: Option<&(String, String)>) -> Result<Page, Unlisted> {
        let mut url = self.bucket.clone();
        url.query_pairs_mut().append_pair("uploads", "").append_pair("prefix", key).append_pair("max-uploads", "1000");
        if let Some((key, upload)) = after {
            url.query_pairs_mut().append_pair("key-marker", key).append_pair("upload-id-marker", upload);
        }
        let request = self.signed(&url).map_err(Unlisted::Unable)?;
        let down = |error: &reqwest::Error| Unlisted::Trouble(Trouble::Down(cut(&format!("no list: {error}"))));
        let mut response = self.client.execute(request).await.map_err(|error| down(&error.without_url()))?;
        let status = response.status();
        match status {
            StatusCode::OK => {}
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => {
                return Err(Unlisted::Trouble(Trouble::Down(format!("no list: {status}"))));
            }
            _ if status.is_server_error() && status != StatusCode::NOT_IMPLEMENTED => {
                return Err(Unlisted::Trouble(Trouble::Down(format!("no list: {status}"))));
            }
            _ => return Err(Unlisted::Unable(status.to_string())),
        }
        let mut body = Vec::new();
        while let Some(piece) = response.chunk().await.map_err(|error| down(&error.without_url()))? {
            if body.len() + piece.len() > MAX_PAGE {
                return Err(Unlisted::Unable("the list is longer than any".to_owned()));
            }
            body.extend_from_slice(&piece);
        }
        read(&body)
    }

    fn signed(&self, url: &Url) -> Result<reqwest::Request, String> {
        let mut signed = hyper::Request::get(url.as_str()).body(HttpRequestBody::empty()).map_err(|e| e.to_string())?;
        AwsAuthorizer::new(&self.credential, "s3", &self.signing_region)
            .try_authorize(&mut signed, None)
            .map_err(|error| cut(&error.to_string()))?;
        let mut request = reqwest::Request::new(reqwest::Method::GET, url.clone());
        *request.headers_mut() = std::mem::take(signed.headers_mut());
        Ok(request)
    }
}

fn read(body: &[u8]) -> Result<Page, Unlisted> {
    quick_xml::de::from_reader(body)
        .map_err(|error| Unlisted::Unable(cut(&format!("the list cannot be read: {error}"))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_read_as_s3_writes_it_and_what_is_none_is_refused() {
        let page = |text: &str| read(text.as_bytes()).ok();
        let text = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>
            <ListMultipartUploadsResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Bucket>b</Bucket><KeyMarker/>
            <Upload><Key>k</Key><UploadId>a&amp;b</UploadId><Initiator><ID>i</ID></Initiator></Upload>
            <NextKeyMarker>k</NextKeyMarker><NextUploadIdMarker>m</NextUploadIdMarker>
            <IsTruncated>true</IsTruncated><Upload><Key>k2</Key><UploadId>c</UploadId></Upload>
            </ListMultipartUploadsResult>";
        let read = page(text).unwrap();
        let uploads: Vec<_> =
            read.uploads.iter().map(|upload| (upload.key.as_str(), upload.upload_id.as_str())).collect();
        assert_eq!(uploads, [("k", "a&b"), ("k2", "c")]);
        assert!(read.is_truncated && read.next_upload_id_marker.as_deref() == Some("m"));
        assert!(page("<ListMultipartUploadsResult/>").unwrap().uploads.is_empty());
        for none in ["", "<Upload>", "<html><p>no", "<a><Upload><Key>k</Key></Upload></a>"] {
            assert!(page(none).is_none(), "{none}");
        }
    }
}
