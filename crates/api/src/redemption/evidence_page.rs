//! The evidence sheet as HTML: tables, no scripts, nothing loaded from anywhere. All text is escaped.

use hexiao_core::money::Money;

use super::evidence::{EvidenceView, UseFacts};

const STYLE: &str = "body{font:14px/1.6 'Noto Sans CJK SC','Microsoft YaHei',sans-serif;color:#111;max-width:960px;margin:24px auto;padding:0 16px}
h1{font-size:20px;margin:0 0 4px}h2{font-size:15px;margin:20px 0 6px;border-bottom:1px solid #999}
table{border-collapse:collapse;width:100%}th,td{border:1px solid #bbb;padding:3px 6px;text-align:left;vertical-align:top;word-break:break-all}
th{background:#eee;white-space:nowrap}.digest{font-family:monospace;word-break:break-all}.none{color:#666}
@media print{body{margin:0;max-width:none;font-size:11px}tr{page-break-inside:avoid}h2{page-break-after:avoid}@page{size:A4;margin:14mm}}";

/// Text as it may stand in an element or a quoted attribute.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            _ => out.push(c),
        }
    }
    out
}

fn yuan(fen: i64) -> String {
    Money::fen(fen).yuan_text()
}

/// A section with a table; what has no rows says so.
fn table(title: &str, heads: &[&str], rows: &[Vec<String>]) -> String {
    let cells = |row: &Vec<String>| {
        let cells: Vec<String> = row.iter().map(|cell| format!("<td>{}</td>", escaped(cell))).collect();
        format!("<tr>{}</tr>", cells.concat())
    };
    let body = if rows.is_empty() {
        "<p class=\"none\">无记录</p>".to_owned()
    } else {
        let heads: Vec<String> = heads.iter().map(|head| format!("<th>{}</th>", escaped(head))).collect();
        let heads = heads.concat();
        let rows: String = rows.iter().map(cells).collect();
        format!("<table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>")
    };
    format!("<h2>{}</h2>{body}", escaped(title))
}

/// A section with names and values.
fn list(title: &str, rows: &[(&str, String)]) -> String {
    let row = |(name, value): &(&str, String)| {
        format!("<tr><th>{}</th><td>{}</td></tr>", escaped(name), escaped(value))
    };
    let rows: String = rows.iter().map(row).collect();
    format!("<h2>{}</h2><table><tbody>{rows}</tbody></table>", escaped(title))
}

fn or_dash(text: Option<&String>) -> String {
    text.cloned().unwrap_or_else(|| "—".to_owned())
}

fn undone(u: &UseFacts) -> String {
    let Some(at) = &u.reversed_at else { return "—".to_owned() };
    format!("{at} {} {}", or_dash(u.reversed_by.as_ref()), or_dash(u.reverse_reason.as_ref()))
}

fn serials(serials: &[u32]) -> String {
    serials.iter().map(ToString::to_string).collect::<Vec<_>>().join("、")
}

/// The whole page.
pub(super) fn page(sheet: &EvidenceView) -> String {
    let facts = &sheet.facts;
    let (v, o) = (&facts.voucher, &facts.order);
    let mut body = format!(
        "<h1>券码凭证单</h1><p>券 {} · 打印时间 {} · 打印人 {}</p><p>内容摘要（SHA-256）：<span class=\"digest\">{}</span></p>",
        escaped(&v.id),
        escaped(&sheet.printed_at),
        escaped(&sheet.printed_by),
        escaped(&sheet.digest)
    );
    if !facts.complete {
        body.push_str("<p><strong>记录较多，本单只列出其中一部分。</strong></p>");
    }
    body.push_str(&list(
        "券",
        &[
            ("商品", format!("{} · {}", v.product_name, v.sku_name)),
            ("券码后四位", v.code_last4.clone()),
            ("状态", v.state.clone()),
            (
                "次数",
                format!("共 {}，已核销 {}，已退款 {}，占用中 {}", v.total, v.used, v.refunded, v.locked),
            ),
            ("金额", yuan(v.amount_fen)),
            ("发放时间", v.issued_at.clone()),
            ("有效期", format!("{} 至 {}", v.valid_from, v.valid_to)),
            ("二维码版本", v.version.to_string()),
            ("撤销次数", v.undo_cycles.to_string()),
        ],
    ));
    let mut order = vec![
        ("订单号", o.number.clone()),
        ("订单编号", o.id.clone()),
        ("状态", o.state.clone()),
        ("购买门店", o.store_name.clone()),
        ("顾客", format!("{} {}", o.customer, or_dash(o.customer_phone.as_ref()))),
        ("实付", yuan(o.pay_fen)),
        ("下单时间", o.placed_at.clone()),
        ("支付时间", or_dash(o.paid_at.as_ref())),
        ("关闭时间", or_dash(o.closed_at.as_ref())),
    ];
    if let Some(p) = &facts.payment {
        order.push(("商户单号", p.out_trade_no.clone()));
        order.push(("微信支付单号", or_dash(p.transaction_id.as_ref())));
        order.push(("支付", format!("{} {} {}", p.method, p.state, yuan(p.amount_fen))));
    }
    body.push_str(&list("订单与支付", &order));
    body.push_str(&tables(sheet));
    let title = escaped(&v.code_last4);
    format!(
        "<!doctype html><html lang=\"zh-CN\"><head><meta charset=\"utf-8\"><title>券码凭证单 {title}</title><style>{STYLE}</style></head><body>{body}</body></html>"
    )
}

fn tables(sheet: &EvidenceView) -> String {
    let facts = &sheet.facts;
    let uses: Vec<Vec<String>> = facts
        .uses
        .iter()
        .map(|u| {
            vec![
                u.serial.to_string(),
                u.state.clone(),
                yuan(u.amount_fen),
                u.store_name.clone(),
                format!("{}（{}）", u.verifier_name, u.verifier_id),
                or_dash(u.device.as_ref()),
                u.method.clone(),
                u.occurred_at.clone(),
                u.recorded_at.clone(),
                u.redemption_id.clone(),
                undone(u),
            ]
        })
        .collect();
    let attempts: Vec<Vec<String>> = facts
        .attempts
        .iter()
        .map(|a| {
            vec![
                a.at.clone(),
                a.store_name.clone(),
                format!("{}（{}）", a.verifier_name, a.verifier_id),
                or_dash(a.device.as_ref()),
                format!("{} / {}", a.step, a.method),
                format!("{}（{}）", a.message, a.reason),
            ]
        })
        .collect();
    let refunds: Vec<Vec<String>> = facts
        .refunds
        .iter()
        .map(|r| {
            vec![
                r.id.clone(),
                r.out_refund_no.clone(),
                or_dash(r.wechat_refund_id.as_ref()),
                r.state.clone(),
                yuan(r.amount_fen),
                r.reason.clone(),
                r.asked_at.clone(),
                or_dash(r.succeeded_at.as_ref()),
            ]
        })
        .collect();
    let locks: Vec<Vec<String>> = facts
        .locks
        .iter()
        .map(|l| {
            vec![l.kind.clone(), l.owner_id.clone(), serials(&l.serials), yuan(l.amount_fen), l.state.clone()]
        })
        .collect();
    let events: Vec<Vec<String>> = facts
        .order_events
        .iter()
        .map(|e| vec![e.at.clone(), e.event.clone(), e.actor.clone(), or_dash(e.note.as_ref())])
        .collect();
    let transfers: Vec<Vec<String>> = facts
        .transfers
        .iter()
        .map(|t| vec![t.at.clone(), t.event.clone(), t.debit.clone(), t.credit.clone(), yuan(t.amount_fen)])
        .collect();
    let messages: Vec<Vec<String>> = facts
        .messages
        .iter()
        .map(|m| vec![m.at.clone(), m.title.clone(), or_dash(m.read_at.as_ref())])
        .collect();
    [
        table(
            "核销与撤销",
            &[
                "第几次",
                "状态",
                "金额",
                "门店",
                "核销员",
                "设备（自报）",
                "方式",
                "发生时间",
                "记录时间",
                "核销编号",
                "撤销",
            ],
            &uses,
        ),
        table("被拒绝的尝试", &["时间", "门店", "操作人", "设备（自报）", "步骤 / 方式", "原因"], &attempts),
        table(
            "退款（整单）",
            &["退款编号", "商户退款单号", "微信退款单号", "状态", "金额", "原因", "申请时间", "到账时间"],
            &refunds,
        ),
        table("占用", &["用途", "编号", "第几次", "金额", "状态"], &locks),
        table("订单经过", &["时间", "事件", "操作方", "说明"], &events),
        table("账务（整单）", &["时间", "事件", "借", "贷", "金额"], &transfers),
        table("发给顾客的消息（整单）", &["时间", "标题", "阅读时间"], &messages),
    ]
    .concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_was_entered_is_markup() {
        let cell = "<script>alert('1')</script>&\"".to_owned();
        let out = table("标题 <b>", &["列"], &[vec![cell.clone()]]) + &list("x", &[("y", cell)]);
        assert!(!out.contains("<script") && !out.contains("<b>"), "{out}");
        assert!(out.contains("&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;&amp;&quot;"), "{out}");
    }
}
