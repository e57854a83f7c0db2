//! Why something was refused: one closed set, used by the API as its error code, by the log of attempts and by
//! the metrics. Each reason knows its HTTP status, whose fault it is, and what a person should do next.

use serde::{Serialize, Serializer};

use crate::time::Timestamp;

/// Who has to act. Only `System` counts towards the alert on failed redemptions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// The customer, or their voucher's state.
    Customer,
    /// The member of staff or the calling program.
    Staff,
    /// We.
    System,
}

macro_rules! reasons {
    ($($variant:ident $code:literal $status:literal $fault:ident $retry:literal $message:literal $next:literal;)*) => {
        /// A refusal's code.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Reason { $(#[doc = $message] $variant,)* }

        impl Reason {
            /// Every reason, for docs/ERRORS.md and the generated clients.
            pub const ALL: &'static [Reason] = &[$(Reason::$variant),*];

            /// The code in the API, without prefix.
            pub const fn code(self) -> &'static str { match self { $(Reason::$variant => $code,)* } }
            /// The HTTP status it is answered with.
            pub const fn status(self) -> u16 { match self { $(Reason::$variant => $status,)* } }
            /// Who has to act.
            pub const fn fault(self) -> Fault { match self { $(Reason::$variant => Fault::$fault,)* } }
            /// Whether the same request may succeed later without anybody changing it.
            pub const fn retryable(self) -> bool { match self { $(Reason::$variant => $retry,)* } }
            /// What happened, in Chinese.
            pub const fn message(self) -> &'static str { match self { $(Reason::$variant => $message,)* } }
            /// What to do next, in Chinese.
            pub const fn next_action(self) -> &'static str { match self { $(Reason::$variant => $next,)* } }
            /// Reads a code.
            pub fn from_code(code: &str) -> Option<Self> { match code { $($code => Some(Reason::$variant),)* _ => None } }
        }
    };
}

reasons! {
    // What is wrong with a request.
    Malformed "malformed" 400 Staff false "请求内容不是有效的 JSON" "请检查请求内容的格式";
    InvalidField "invalid_field" 400 Staff false "填写的内容不符合要求" "请按提示修改标出的项目";
    InvalidCursor "invalid_cursor" 400 Staff false "翻页标记无效" "请从第一页重新加载";
    IdempotencyKeyRequired "idempotency_key_required" 400 Staff false "缺少 Idempotency-Key 请求头" "请为每次操作生成一个 1–255 个字符的唯一标识，重试时保持不变";
    IdempotencyConflict "idempotency_conflict" 422 Staff false "同一个 Idempotency-Key 已用于另一个内容不同的请求" "请为新的操作换一个标识";
    BodyTooLarge "body_too_large" 413 Staff false "提交的内容太大" "请减少内容后再提交";
    UnsupportedMediaType "unsupported_media_type" 415 Staff false "请求需要使用 application/json" "请设置 Content-Type: application/json";
    MethodNotAllowed "method_not_allowed" 405 Staff false "该地址不支持这种请求方法" "请查看接口文档";
    Timeout "timeout" 503 System true "处理超时" "请用相同的 Idempotency-Key 重试";
    Unauthenticated "unauthenticated" 401 Staff false "请先登录" "请登录后再试";
    SessionExpired "session_expired" 401 Staff false "登录已过期" "请重新登录";
    BadCredentials "bad_credentials" 401 Staff false "手机号或密码不正确" "请核对后再试，多次输错会暂时锁定";
    LoginCodeInvalid "login_code_invalid" 401 Customer true "微信登录凭证无效或已使用" "请重新打开小程序登录";
    PhoneCodeInvalid "phone_code_invalid" 422 Customer true "手机号授权已失效或已使用" "请重新点击按钮授权手机号";
    AccountLocked "account_locked" 429 Staff true "输错密码次数过多，账号已暂时锁定" "请稍后再试，或请管理员重置密码";
    AccountDisabled "account_disabled" 403 Staff false "账号已停用" "请联系管理员";
    ChooseMerchant "choose_merchant" 409 Staff false "您在多个商家任职" "请选择要登录的商家";
    Forbidden "forbidden" 403 Staff false "您没有权限做这个操作" "如需使用，请联系店长或管理员授权";
    NotFound "not_found" 404 Customer false "没有找到" "请核对后再试";
    RateLimited "rate_limited" 429 Staff true "操作太频繁" "请稍等片刻再试";
    Busy "busy" 429 System true "系统繁忙" "请稍等片刻再试";
    Internal "internal" 500 System true "系统出了点问题" "请稍后用相同的标识重试；如仍失败，请把请求编号告诉我们";
    WechatUnavailable "wechat_unavailable" 503 System true "微信服务暂时没有响应" "请稍等片刻再试";
    WechatRefused "wechat_refused" 502 System false "微信拒绝了这次请求" "请把请求编号告诉商家";

    // Editing.
    Stale "stale" 409 Staff true "内容已被他人修改" "请刷新后再修改";
    Duplicate "duplicate" 409 Staff false "已存在相同的记录" "请修改后再提交";
    InUse "in_use" 409 Staff false "正在使用中，不能删除" "请先停用";
    IllegalState "illegal_state" 409 Staff false "当前状态不能这样操作" "请刷新后查看最新状态";
    PublishIncomplete "publish_incomplete" 409 Staff false "商品资料不完整，不能上架" "请补充提示的内容";

    // Buying.
    OutOfStock "out_of_stock" 409 Customer false "库存不足" "请减少数量或换一个规格";
    NotListed "not_listed" 409 Customer false "商品已下架或本店不售" "请换一个商品或门店";
    PurchaseLimit "purchase_limit" 409 Customer false "超过限购数量" "请减少数量";
    TooManyUnpaid "too_many_unpaid" 409 Customer false "您在这个商家还有 20 个未支付的订单" "请先支付或取消这些订单";
    TooManyUnits "too_many_units" 400 Customer false "一个订单最多 50 份" "请分成几个订单购买";
    StoreSuspended "store_suspended" 409 Customer false "门店暂停营业" "请选择其他门店";
    OrderNotPayable "order_not_payable" 409 Customer false "订单当前不能支付" "请刷新查看订单状态";
    OrderExpired "order_expired" 409 Customer false "订单已超过支付时间" "请重新下单";
    OrderPaid "order_paid" 409 Customer false "订单已支付" "请在订单中查看券码";
    NotRefundable "not_refundable" 409 Customer false "没有可退的次数" "已核销的部分如有问题请申请售后";
    RefundLimit "refund_limit" 409 Customer false "该订单退款次数已达上限" "请联系商家处理";
    RefundNotRetryable "refund_not_retryable" 409 Staff false "该退款当前不能这样处理" "请刷新查看退款状态";

    // Redeeming (domain: closed set of a voucher's refusals).
    InvalidSignature "invalid_signature" 422 Customer false "二维码不是本商家签发的" "请让顾客打开小程序出示券码";
    QrStale "qr_stale" 409 Customer false "二维码已失效" "请让顾客在小程序里刷新券码";
    BadCheckDigit "bad_check_digit" 422 Staff false "券码输入有误" "请核对 12 位数字后重新输入";
    Unpaid "unpaid" 409 Customer false "订单还没有支付" "请顾客先完成支付";
    GroupPending "group_pending" 409 Customer false "拼团还没有成功" "成团后才能使用";
    NotStarted "not_started" 409 Customer false "还没到可用时间" "请在生效后使用";
    Expired "expired" 409 Customer false "券已过期" "请查看退款规则或联系商家";
    OutsideHours "outside_hours" 409 Customer false "现在不在可用时段内" "请在可用时段内使用";
    BlackoutDate "blackout_date" 409 Customer false "今天不可用" "请换一天使用";
    TooSoon "too_soon" 409 Customer true "距上次使用间隔太短" "请稍后再使用";
    DailyCap "daily_cap" 409 Customer false "今天的可用次数已用完" "请明天再使用";
    WrongStore "wrong_store" 409 Customer false "该券不能在本店使用" "请到适用门店使用";
    StoreClosed "store_closed" 409 Staff false "门店正在歇业" "请恢复营业后再核销";
    UsedUp "used_up" 409 Customer false "该券已核销完" "没有剩余次数";
    NotEnoughUses "not_enough_uses" 409 Customer false "剩余次数不够" "请减少核销次数";
    Locked "locked" 409 Customer false "剩余次数已被预约占用" "请先处理预约";
    RefundPending "refund_pending" 409 Customer false "剩余次数正在退款" "款项正在退回，不能再核销";
    Refunded "refunded" 409 Customer false "该券已退款" "款项已退回，不能再核销";
    Frozen "frozen" 409 System false "该券已被冻结" "请联系商家客服";
    Transferring "transferring" 409 Customer false "该券正在转赠" "请等待领取或先取消转赠";
    Transferred "transferred" 409 Customer false "该券已转赠他人" "请由受赠人出示券码";
    BookingRequired "booking_required" 409 Customer false "该券需要先预约" "请先预约到店时间";
    BookingMismatch "booking_mismatch" 409 Customer false "预约的门店或时间不符" "请核对预约";
    NotBookable "not_bookable" 409 Customer false "该券无需预约" "到店出示券码即可使用";
    SlotUnavailable "slot_unavailable" 409 Customer false "该时段不可预约" "请选择其他时段";
    SlotFull "slot_full" 409 Customer false "该时段已约满" "请选择其他时段";
    HoldExpired "hold_expired" 409 Customer false "预约超时未确认，名额已释放" "请重新预约";
    BookingTooLate "booking_too_late" 409 Customer false "已过可取消和改约的时间" "请联系门店处理";
    RescheduleLimit "reschedule_limit" 409 Customer false "改约次数已用完" "如需更改请联系门店";
    MinQuantity "min_quantity" 409 Customer false "低于单次最少使用次数" "请增加核销次数";
    MaxQuantity "max_quantity" 409 Customer false "超过单次最多使用次数" "请减少核销次数";
    AcknowledgeRequired "acknowledge_required" 409 Staff false "该券刚刚在本店核销过" "确认是再次使用后，请勾选确认再核销";
    ConsentRequired "consent_required" 409 Customer false "需要顾客同意" "请顾客在小程序里点同意";
    ConsentExpired "consent_expired" 409 Customer false "这次请求已超时" "请店员重新发起";
    ConsentDenied "consent_denied" 409 Customer false "顾客没有同意" "请改用扫码";
    ApprovalRequired "approval_required" 409 Staff false "需要第二人审批" "请店长审批";
    StaffForbidden "staff_forbidden" 403 Staff false "您不能在该门店核销" "请切换到您任职的门店";
    DeviceRequired "device_required" 403 Staff false "请先登记这台设备" "请在“我的设备”中登记后再核销";
    DeviceLimit "device_limit" 409 Staff false "登记的设备太多" "请先停用不再使用的设备";
    DeviceRevoked "device_revoked" 403 Staff false "设备已停用" "请联系管理员";
    LimitExceeded "limit_exceeded" 409 Staff false "超过您今天的核销上限" "请店长处理";
    TokenExpired "token_expired" 409 Staff false "核销确认已超时" "请重新扫码";
    TokenUsed "token_used" 409 Staff false "这次扫码已经核销过" "请重新扫码";
    TokenMismatch "token_mismatch" 409 Staff false "核销确认与扫码内容不符" "请重新扫码";
    UndoWindowPassed "undo_window_passed" 409 Staff false "已超过撤销时限" "请店长处理，或为顾客申请售后";
    UndoSettled "undo_settled" 409 Staff false "该次核销已入账，不能撤销" "请为顾客申请售后";
    UndoCyclesExceeded "undo_cycles_exceeded" 409 Staff false "该券反复撤销次数过多" "请联系商家处理";
    AlreadyReversed "already_reversed" 409 Staff false "该次核销已撤销" "请刷新记录";
    ConflictOffline "conflict_offline" 409 Staff false "与其他核销冲突" "请在异常处理中查看";

    // WeChat's callbacks.
    NotificationUnverified "notification_unverified" 401 System false "通知签名校验失败" "不处理该通知";
    NotificationUnknown "notification_unknown" 500 System true "通知对应的单号不存在" "等待微信重发";
}

impl Serialize for Reason {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(self.code())
    }
}

impl<'de> serde::Deserialize<'de> for Reason {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let code = std::borrow::Cow::<'de, str>::deserialize(d)?;
        Reason::from_code(&code).ok_or_else(|| serde::de::Error::custom("unknown reason"))
    }
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.code())
    }
}

/// A refusal with what is special about this case, such as when and where a voucher can be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The closed code.
    pub reason: Reason,
    /// What happened, in Chinese; the reason's own text unless the case has more to say.
    pub message: String,
    /// What is wrong where, for forms and for short lines of an order.
    pub fields: Vec<FieldError>,
    /// When a voucher that can't be used now can be used next.
    pub next_usable_at: Option<Timestamp>,
}

/// One field's problem: a path such as `items[0].quantity` and a Chinese message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FieldError {
    /// Where.
    pub path: String,
    /// What.
    pub message: String,
}

impl Refusal {
    /// With the reason's own text.
    pub fn new(reason: Reason) -> Self {
        Self::with_message(reason, reason.message())
    }

    /// With a text for this case.
    pub fn with_message(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into(), fields: Vec::new(), next_usable_at: None }
    }

    /// One field is wrong.
    pub fn field(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(Reason::InvalidField).and_field(path, message)
    }

    /// Adds a field's problem.
    #[must_use]
    pub fn and_field(mut self, path: impl Into<String>, message: impl Into<String>) -> Self {
        self.fields.push(FieldError { path: path.into(), message: message.into() });
        self
    }
}

impl From<Reason> for Refusal {
    fn from(reason: Reason) -> Self {
        Self::new(reason)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn codes_are_unique_snake_case_and_round_trip() {
        let codes: HashSet<_> = Reason::ALL.iter().map(|r| r.code()).collect();
        assert_eq!(codes.len(), Reason::ALL.len());
        for reason in Reason::ALL {
            assert!(reason.code().chars().all(|c| c.is_ascii_lowercase() || c == '_'), "{reason}");
            assert_eq!(Reason::from_code(reason.code()), Some(*reason));
            assert!((400..600).contains(&reason.status()), "{reason}");
            assert!(!reason.message().is_empty() && !reason.next_action().is_empty());
        }
    }
}
