//! Who may do what. This release has no users: everything is allowed, as without `-auth`.

/// What an operation needs leave for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permission {
    /// Nothing.
    None,
    /// `execute`
    Execute,
    /// `query`
    Query,
    /// `query` and `execute`
    Request,
    /// `backup`
    Backup,
    /// `load`
    Load,
    /// `snapshot`
    Snapshot,
    /// `remove`
    Remove,
    /// `status`
    Status,
    /// `leader-ops`
    LeaderOps,
    /// `ready`
    Ready,
    /// `ui`
    Ui,
}

/// May anyone do what needs `permission`?
pub fn is_allowed(permission: Permission) -> bool {
    match permission {
        Permission::None
        | Permission::Execute
        | Permission::Query
        | Permission::Request
        | Permission::Backup
        | Permission::Load
        | Permission::Snapshot
        | Permission::Remove
        | Permission::Status
        | Permission::LeaderOps
        | Permission::Ready
        | Permission::Ui => true,
    }
}
