//! Where secrets are, and on what terms they are lent: the values, once they are read and checked.

use std::collections::BTreeMap;
use std::path::PathBuf;

/// Where a secret's value is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum SecretPlace {
    /// In the host's encrypted store: `tollgate secret set`.
    #[default]
    Store,
    /// In this environment variable of the host.
    Variable(String),
    /// In this file, as an absolute path once loaded from a home.
    File(PathBuf),
    /// In the keyring of the operating system.
    Keyring {
        /// The service that it is kept under.
        service: String,
        /// The account.
        account: String,
    },
    /// In OpenBao or Vault.
    Vault(VaultSecret),
    /// An access token that a refresh token brings.
    OAuth(OAuthSecret),
    /// A JWT that the host signs.
    Jwt(JwtSecret),
    /// A token of an installation of a GitHub App.
    GitHubApp(GitHubAppSecret),
}

impl SecretPlace {
    /// Whether `tollgate secret set` gives it what it is, or is made from: the value, a refresh
    /// token, a private key.
    #[must_use]
    pub const fn is_in_store(&self) -> bool {
        match self {
            Self::Store | Self::OAuth(_) | Self::Jwt(_) | Self::GitHubApp(_) => true,
            Self::Variable(_) | Self::File(_) | Self::Keyring { .. } | Self::Vault(_) => false,
        }
    }
}

impl std::fmt::Display for SecretPlace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Store => f.write_str("store"),
            Self::Variable(variable) => write!(f, "env:{variable}"),
            Self::File(path) => write!(f, "file:{}", path.display()),
            Self::Keyring { service, account } => write!(f, "keyring:{service}/{account}"),
            Self::Vault(vault) => write!(f, "vault:{}#{}", vault.path, vault.field),
            Self::OAuth(oauth) => write!(f, "oauth:{}", oauth.token_url),
            Self::Jwt(jwt) => write!(f, "jwt:{}", jwt.audience),
            Self::GitHubApp(app) => write!(f, "github-app:{}", app.installation),
        }
    }
}

/// How a secret is lent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LeaseTerms {
    /// Kept for the other calls of a task, where there is one, and taken back at its end.
    pub per_task: bool,
    /// For how long at most; the host's own bound where there is none.
    pub ttl: Option<std::time::Duration>,
    /// For how many requests at most.
    pub uses: Option<u32>,
}

/// What is lent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Leases {
    /// So many may wait to be taken back; beyond that nothing is lent that would have to be.
    pub most_pending: usize,
    /// How long a credential lives at most that is made for a call or a task.
    pub ttl: std::time::Duration,
}

impl Default for Leases {
    fn default() -> Self {
        Self {
            // As many as the host runs calls at once: more means that taking back does not work.
            most_pending: 128,
            // A task of a few calls; a longer one renews, or gets another.
            ttl: std::time::Duration::from_secs(15 * 60),
        }
    }
}

/// The server of secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vault {
    /// `https://vault.example:8200`.
    pub address: String,
    /// The namespace, where there are some.
    pub namespace: Option<String>,
    /// How the host proves who it is.
    pub login: VaultLogin,
    /// The policies of the tokens that it makes for calls and tasks; its own where there are none.
    pub policies: Vec<String>,
}

/// How the host proves who it is, to the server of secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VaultLogin {
    /// With the token in this file, read anew when it is refused.
    TokenFile(PathBuf),
    /// As an AppRole.
    AppRole {
        /// Where the method is mounted, below `auth/`.
        mount: String,
        /// The role's id.
        role_id: String,
        /// The file with the role's secret id.
        secret_id_file: PathBuf,
    },
}

/// A secret in OpenBao or Vault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VaultSecret {
    /// As in the API, without `/v1/`: `secret/data/app`, `database/creds/reader`.
    pub path: String,
    /// Which member of what comes back is the value; `*` for all of it, as JSON.
    pub field: String,
    /// Which member is the user name, for `basic`, where the engine makes one.
    pub user_field: Option<String>,
    /// Whether each read makes a new credential, which is taken back afterwards.
    pub dynamic: bool,
    /// What is sent along, where the engine wants to be asked with `POST`.
    pub parameters: BTreeMap<String, String>,
}

/// An access token that a refresh token brings (RFC 6749 section 6). The refresh token is in the
/// host's own store, under the secret's own name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OAuthSecret {
    /// The token endpoint.
    pub token_url: String,
    /// The revocation endpoint (RFC 7009), where there is one: then each lease has an access token of
    /// its own, which is taken back.
    pub revocation_url: Option<String>,
    /// The client.
    pub client_id: String,
    /// The name, in the host's own store, of the client's secret, where it has one.
    pub client_secret: Option<String>,
    /// Asked for with each refresh, where it is to be less than was granted.
    pub scope: Option<String>,
}

/// A JWT that the host signs. The private key (PEM) is in the host's own store, under the secret's
/// own name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JwtSecret {
    /// `iss`.
    pub issuer: String,
    /// `sub`.
    pub subject: String,
    /// `aud`.
    pub audience: String,
    /// `kid`, in the header.
    pub key_id: Option<String>,
}

/// A token of an installation of a GitHub App. The App's private key (PEM) is in the host's own
/// store, under the secret's own name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GitHubAppSecret {
    /// The API, `https://api.github.com`.
    pub api: String,
    /// The App's id, or its client id.
    pub app: String,
    /// The installation.
    pub installation: u64,
    /// The names of the repositories; all of the installation's where there are none.
    pub repositories: Vec<String>,
    /// Permissions, such as `contents = "read"`; all of the installation's where there are none.
    pub permissions: BTreeMap<String, String>,
}
