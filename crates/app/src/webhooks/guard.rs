//! Where a webhook may be: over TLS on the public internet. In development also on this host, in the clear.
//!
//! **Invariant:** the addresses that a name resolves to are looked at when the connection is made, not before: a name
//! can't be public when it is checked and private when it is called.

use std::net::{IpAddr, SocketAddr};

use hexiao_core::text::clean_text;
use hexiao_core::webhook::{MAX_URL_CHARS, is_public};
use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// Why an address is not called.
#[derive(Debug, thiserror::Error)]
#[error("not an address of the public internet")]
pub(super) struct NotPublic;

fn may_call(address: IpAddr, dev: bool) -> bool {
    is_public(address) || dev && address.is_loopback()
}

/// An address as a person entered it, checked and normalised; else what is wrong with it, in Chinese.
pub(super) fn checked(text: &str, dev: bool) -> Result<String, &'static str> {
    if clean_text(text, 1, MAX_URL_CHARS).is_err() || text.contains(char::is_whitespace) {
        return Err("地址不能有空格或特殊字符，最多 500 个字");
    }
    let url = Url::parse(text).map_err(|_| "请填写完整的地址，如 https://erp.example.com/hexiao")?;
    let host = url.host_str().unwrap_or_default();
    let here = host == "localhost" || address(host).is_some_and(|ip| ip.is_loopback());
    match url.scheme() {
        "https" => {}
        "http" if dev && here => {}
        _ => return Err("地址应以 https:// 开头"),
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("地址里不能有用户名和密码，接收方请用签名验证来源");
    }
    if url.fragment().is_some() {
        return Err("地址里不能有 #");
    }
    if url.port() == Some(0) || host.is_empty() {
        return Err("请填写完整的地址，如 https://erp.example.com/hexiao");
    }
    let reachable = match address(host) {
        Some(ip) => may_call(ip, dev),
        None => dev && here || host.trim_end_matches('.').contains('.'),
    };
    if !reachable {
        return Err("只能填写公网可以访问的地址");
    }
    Ok(url.into())
}

/// The address that a host is, if it is no name.
fn address(host: &str) -> Option<IpAddr> {
    host.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

/// Whether a stored address may be called as far as its text tells. An address without a name is never resolved.
pub(super) fn may_call_url(url: &str, dev: bool) -> bool {
    checked(url, dev).is_ok()
}

/// Resolves names to those of their addresses that may be called.
pub(super) struct Guard {
    pub(super) dev: bool,
}

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let dev = self.dev;
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let good: Vec<SocketAddr> = found.filter(|a| may_call(a.ip(), dev)).collect();
            if good.is_empty() {
                return Err(NotPublic.into());
            }
            let good: Addrs = Box::new(good.into_iter());
            Ok(good)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn webhooks_are_on_the_public_internet() {
        for good in [
            "https://erp.example.com/hexiao",
            "https://erp.example.com:8443/a?b=c",
            "https://1.1.1.1/x",
            "https://[2606:4700::1111]/x",
            "https://商家.example.com/x",
        ] {
            assert!(checked(good, false).is_ok(), "{good}");
            assert!(may_call_url(&checked(good, false).unwrap(), false), "{good}");
        }
        for bad in [
            "",
            "erp.example.com",
            "http://erp.example.com",
            "ftp://erp.example.com",
            "https://",
            "https://localhost/x",
            "https://intranet/x",
            "https://127.0.0.1/x",
            "https://127.1/x",
            "https://2130706433/x",
            "https://0x7f.0.0.1/x",
            "https://10.0.0.8/x",
            "https://169.254.169.254/latest/meta-data",
            "https://[::1]/x",
            "https://[::ffff:10.0.0.1]/x",
            "https://u:p@erp.example.com/x",
            "https://erp.example.com/#x",
            "https://erp.example.com/a b",
            "https://erp.example.com:0/",
            "https://erp.example.com/\u{202E}",
            "javascript:alert(1)",
        ] {
            assert!(checked(bad, false).is_err(), "{bad}");
        }
        assert!(checked(&format!("https://a.example/{}", "x".repeat(500)), false).is_err());
    }

    #[test]
    fn in_development_also_on_this_host_and_nowhere_else() {
        for good in
            ["http://127.0.0.1:9000/x", "http://localhost:9000/", "https://localhost/", "http://[::1]:9/"]
        {
            assert!(checked(good, true).is_ok(), "{good}");
        }
        for bad in
            ["http://erp.example.com/", "http://10.0.0.1/", "https://192.168.1.1/", "https://intranet/"]
        {
            assert!(checked(bad, true).is_err(), "{bad}");
        }
    }

    #[tokio::test]
    async fn a_name_of_this_host_is_resolved_in_development_only() {
        let resolve = async |dev: bool| Guard { dev }.resolve("localhost".parse().unwrap()).await;
        assert!(resolve(true).await.is_ok());
        let refused = resolve(false).await.err().unwrap();
        assert!(refused.downcast_ref::<NotPublic>().is_some(), "{refused}");
    }
}
