//! The table of the demo's 30 products.

use hexiao_core::rule::{BookingRule, RefundPolicy};

use super::{DemoSku, DemoWindow, Trade};

/// A product as it is written down here.
pub(super) struct Goods {
    pub name: &'static str,
    pub trade: Trade,
    pub category: &'static str,
    pub color: &'static str,
    pub intro: &'static str,
    pub points: &'static [&'static str],
    pub tags: &'static [&'static str],
    pub skus: &'static [DemoSku],
    pub recommended: bool,
    pub hot: bool,
    pub deal: bool,
    pub place: Where,
}

/// Where a product is sold.
#[derive(Clone, Copy)]
pub(super) enum Where {
    Everywhere,
    /// In the stores of its trade.
    Trade,
    /// In every store of these cities.
    Cities(&'static [&'static str]),
}

const BASE: Goods = Goods {
    name: "",
    trade: Trade::Dining,
    category: "",
    color: "#C8553D",
    intro: "",
    points: &[],
    tags: &[],
    skus: &[],
    recommended: false,
    hot: false,
    deal: false,
    place: Where::Trade,
};

/// One use, 30 days, refundable at any time.
const fn sku(name: &'static str, price_fen: i64, list_price_fen: i64, stock: Option<i64>) -> DemoSku {
    DemoSku {
        name,
        price_fen,
        list_price_fen: if list_price_fen > price_fen { Some(list_price_fen) } else { None },
        stock,
        uses: 1,
        valid_days: 30,
        refund: RefundPolicy::AnyTime,
        usable: &[],
        daily_cap: None,
        min_interval_minutes: 0,
        booking: BookingRule::None,
        per_order_limit: None,
        per_customer_limit: None,
    }
}

impl DemoSku {
    const fn card(mut self, uses: u32, valid_days: u32) -> Self {
        self.uses = uses;
        self.valid_days = valid_days;
        self
    }
    const fn days(mut self, valid_days: u32) -> Self {
        self.valid_days = valid_days;
        self
    }
    const fn refund(mut self, refund: RefundPolicy) -> Self {
        self.refund = refund;
        self
    }
    const fn usable(mut self, usable: &'static [DemoWindow]) -> Self {
        self.usable = usable;
        self
    }
    const fn pace(mut self, daily_cap: Option<u32>, min_interval_minutes: u32) -> Self {
        self.daily_cap = daily_cap;
        self.min_interval_minutes = min_interval_minutes;
        self
    }
    const fn booked(mut self) -> Self {
        self.booking = BookingRule::Required;
        self
    }
    const fn limits(mut self, per_order: Option<i64>, per_customer: Option<i64>) -> Self {
        self.per_order_limit = per_order;
        self.per_customer_limit = per_customer;
        self
    }
}

const DAILY: &[u8] = &[1, 2, 3, 4, 5, 6, 7];
const LUNCH: &[DemoWindow] = &[DemoWindow { weekdays: &[1, 2, 3, 4, 5], from: "11:00", to: "14:00" }];
const AFTERNOON: &[DemoWindow] = &[DemoWindow { weekdays: DAILY, from: "14:00", to: "17:30" }];
const NIGHT: &[DemoWindow] = &[DemoWindow { weekdays: DAILY, from: "20:00", to: "02:00" }];
const WEEKEND: &[DemoWindow] = &[DemoWindow { weekdays: &[6, 7], from: "10:00", to: "20:00" }];
const CLASS: &[DemoWindow] = &[
    DemoWindow { weekdays: &[3, 5], from: "16:00", to: "19:30" },
    DemoWindow { weekdays: &[6, 7], from: "09:30", to: "18:00" },
];

pub(super) const GOODS: [Goods; 30] = [
    // 餐饮
    Goods {
        name: "手冲咖啡次卡",
        category: "咖啡茶饮",
        color: "#6F4E37",
        intro: "任选当日单品豆手冲一杯，每家门店的咖啡角都能用。",
        points: &["每次一杯，冷热任选", "可换同价茶饮", "可带走"],
        tags: &["次卡", "全门店通用"],
        skus: &[
            sku("3 次卡", 5_800, 7_500, None).card(3, 90),
            sku("5 次卡", 8_800, 12_500, None).card(5, 120),
            sku("10 次卡", 16_800, 25_000, None).card(10, 180),
        ],
        recommended: true,
        hot: true,
        place: Where::Everywhere,
        ..BASE
    },
    Goods {
        name: "招牌小炒双人餐",
        category: "正餐套餐",
        color: "#C8553D",
        intro: "三菜一汤两份米饭，时令蔬菜按当日供应搭配。",
        points: &["小炒黄牛肉、时蔬、蒸蛋各一份", "例汤一份，米饭两碗", "四人餐为五菜一汤"],
        tags: &["人气套餐"],
        skus: &[sku("双人餐", 12_800, 16_800, Some(500)), sku("四人餐", 22_800, 31_600, Some(300))],
        recommended: true,
        hot: true,
        ..BASE
    },
    Goods {
        name: "工作日商务午市套餐",
        category: "正餐套餐",
        color: "#D98E04",
        intro: "工作日午间一人食，主食、小菜、例汤和饮品一次配齐。",
        points: &["主食三选一", "小菜、例汤、饮品各一份"],
        tags: &["工作日午市", "特惠"],
        skus: &[sku("单人餐", 3_800, 4_800, Some(800)).usable(LUNCH)],
        hot: true,
        deal: true,
        ..BASE
    },
    Goods {
        name: "100 元餐饮代金券",
        category: "代金券",
        color: "#B23A48",
        intro: "在任一门店消费时抵 100 元，可与店内活动同享。",
        points: &["抵扣 100 元，不找零", "每桌最多使用 5 张"],
        tags: &["全门店通用", "代金券"],
        skus: &[sku("100 元券", 8_800, 10_000, Some(2_000)).days(90).limits(Some(5), None)],
        recommended: true,
        deal: true,
        place: Where::Everywhere,
        ..BASE
    },
    Goods {
        name: "鸳鸯火锅四人餐",
        category: "火锅烧烤",
        color: "#A4161A",
        intro: "牛油红汤配菌菇清汤，荤素八样，四人刚好。",
        points: &["鸳鸯锅底一份", "鲜切牛肉、毛肚、虾滑各一份", "素菜五样，油碟四份"],
        tags: &["川渝", "聚餐"],
        skus: &[sku("四人餐", 23_800, 32_800, Some(400)), sku("六人餐", 33_800, 46_800, Some(200))],
        hot: true,
        place: Where::Cities(&["成都", "重庆", "武汉"]),
        ..BASE
    },
    Goods {
        name: "招牌牛肉面 5 次卡",
        category: "面食简餐",
        color: "#BC6C25",
        intro: "慢炖八小时的牛骨汤，现拉面条，每天最多用两次。",
        points: &["每次一碗，宽细任选", "可加辣，小菜一碟"],
        tags: &["次卡"],
        skus: &[sku("5 次卡", 11_800, 15_000, None).card(5, 60).pace(Some(2), 0)],
        ..BASE
    },
    Goods {
        name: "双人下午茶",
        category: "咖啡茶饮",
        color: "#D4A373",
        intro: "两杯饮品配三层点心架，下午时段专享。",
        points: &["咖啡或茶两杯", "司康、蛋糕、咸点各两份"],
        tags: &["下午茶", "全门店通用"],
        skus: &[sku("双人份", 9_800, 14_800, Some(600)).usable(AFTERNOON)],
        recommended: true,
        place: Where::Everywhere,
        ..BASE
    },
    Goods {
        name: "深夜烧烤拼盘",
        category: "火锅烧烤",
        color: "#3D405B",
        intro: "羊肉串、鸡翅与时蔬拼盘，晚八点到凌晨两点可用。",
        points: &["羊肉串十串，鸡翅四只", "烤时蔬两份，饮料两瓶"],
        tags: &["夜宵"],
        skus: &[sku("拼盘", 10_800, 14_600, Some(300)).usable(NIGHT).refund(RefundPolicy::BeforeExpiry)],
        ..BASE
    },
    Goods {
        name: "周末亲友聚餐八人席",
        category: "正餐套餐",
        color: "#7F5539",
        intro: "周末家宴，冷热菜十二道，含包间三小时。",
        points: &["冷菜四道，热菜八道", "主食、果盘、茶水", "含包间，请提前致电预留"],
        tags: &["聚餐", "周末"],
        skus: &[sku("八人席", 88_800, 118_800, Some(100)).usable(WEEKEND).limits(Some(2), Some(4))],
        ..BASE
    },
    // 美容美发
    Goods {
        name: "洗剪吹",
        trade: Trade::Beauty,
        category: "美发",
        color: "#5E548E",
        intro: "含沟通设计、洗发、剪发和吹风造型，不加价。",
        points: &["约 60 分钟", "男女不限，长短发同价"],
        tags: &["不加价"],
        skus: &[
            sku("资深发型师", 6_800, 9_800, None),
            sku("总监", 12_800, 16_800, None),
            sku("资深发型师 3 次卡", 17_800, 29_400, None).card(3, 180),
        ],
        recommended: true,
        hot: true,
        ..BASE
    },
    Goods {
        name: "染发护理套餐",
        trade: Trade::Beauty,
        category: "美发",
        color: "#9F86C0",
        intro: "含色板设计、全头染色与染后护理一次。",
        points: &["约 150 分钟", "发长过肩不另收费"],
        tags: &["需预约"],
        skus: &[
            sku("短发至中长发", 29_800, 48_800, None).booked(),
            sku("长发", 36_800, 58_800, None).booked(),
        ],
        ..BASE
    },
    Goods {
        name: "深层补水面部护理",
        trade: Trade::Beauty,
        category: "美容",
        color: "#84A59D",
        intro: "清洁、补水、舒缓按摩与面膜，适合换季干燥肌肤。",
        points: &["约 60 分钟", "操作前做皮肤测试"],
        tags: &["60 分钟"],
        skus: &[
            sku("单次", 16_800, 26_800, None),
            sku("5 次卡", 69_800, 134_000, None).card(5, 240).pace(None, 1_440),
        ],
        hot: true,
        ..BASE
    },
    Goods {
        name: "肩颈舒缓 10 次卡",
        trade: Trade::Beauty,
        category: "养护",
        color: "#52796F",
        intro: "每次 40 分钟的肩颈放松，每天一次，间隔 24 小时。",
        points: &["每次约 40 分钟", "每天最多一次"],
        tags: &["次卡"],
        skus: &[sku("10 次卡", 59_800, 98_000, None).card(10, 300).pace(Some(1), 1_440)],
        ..BASE
    },
    Goods {
        name: "单色美甲与手部护理",
        trade: Trade::Beauty,
        category: "美甲",
        color: "#E5989B",
        intro: "基础修形、手部护理与单色甲油胶，各店美甲角均可使用。",
        points: &["约 75 分钟", "含卸甲一次"],
        tags: &["全门店通用"],
        skus: &[sku("单色", 9_900, 15_800, None), sku("跳色", 12_900, 19_800, None)],
        place: Where::Everywhere,
        ..BASE
    },
    Goods {
        name: "新客头皮检测与清洁",
        trade: Trade::Beauty,
        category: "美发",
        color: "#2A9D8F",
        intro: "显微检测加一次头皮清洁，每人限购一份。",
        points: &["约 40 分钟", "附检测报告"],
        tags: &["新客专享", "限购一份"],
        skus: &[sku("体验一次", 990, 9_900, Some(1_000)).limits(Some(1), Some(1))],
        deal: true,
        ..BASE
    },
    Goods {
        name: "50 元美业代金券",
        trade: Trade::Beauty,
        category: "代金券",
        color: "#6D597A",
        intro: "美发、美容、美甲项目均可抵 50 元，过期前可退。",
        points: &["抵扣 50 元，不找零", "每单一张"],
        tags: &["代金券"],
        skus: &[sku("50 元券", 3_900, 5_000, Some(1_500)).days(60).refund(RefundPolicy::BeforeExpiry)],
        deal: true,
        ..BASE
    },
    // 亲子
    Goods {
        name: "亲子烘焙课",
        trade: Trade::Family,
        category: "手作课堂",
        color: "#F2CC8F",
        intro: "一位家长和一个孩子一起做饼干或小蛋糕，成品带走。",
        points: &["约 90 分钟，材料全含", "适合 4 至 12 岁", "周三、周五傍晚与周末开课"],
        tags: &["手作", "全门店通用"],
        skus: &[
            sku("1 大 1 小", 15_800, 22_800, Some(400)).usable(CLASS),
            sku("1 大 2 小", 22_800, 33_800, Some(200)).usable(CLASS),
        ],
        recommended: true,
        place: Where::Everywhere,
        ..BASE
    },
    Goods {
        name: "室内乐园畅玩票",
        trade: Trade::Family,
        category: "乐园",
        color: "#E07A5F",
        intro: "海洋球、攀爬与角色扮演区不限时畅玩。",
        points: &["当日不限时", "每位儿童须有一位家长陪同"],
        tags: &["不限时"],
        skus: &[
            sku("1 大 1 小单次", 8_800, 12_800, None),
            sku("1 大 1 小 3 次卡", 22_800, 38_400, None).card(3, 120),
            sku("1 大 1 小 10 次卡", 62_800, 128_000, None).card(10, 300),
        ],
        recommended: true,
        hot: true,
        ..BASE
    },
    Goods {
        name: "绘本阅读 10 次卡",
        trade: Trade::Family,
        category: "阅读",
        color: "#81B29A",
        intro: "每次两小时，馆藏中英文绘本随意读，每天一次。",
        points: &["每次两小时", "含故事会一场", "每天最多一次"],
        tags: &["次卡", "全门店通用"],
        skus: &[sku("10 次卡", 28_800, 48_000, None).card(10, 180).pace(Some(1), 0)],
        place: Where::Everywhere,
        ..BASE
    },
    Goods {
        name: "儿童理发",
        trade: Trade::Family,
        category: "儿童服务",
        color: "#457B9D",
        intro: "玩具座椅、静音推剪，胎发可做纪念品。",
        points: &["适合 0 至 10 岁", "每次约 30 分钟"],
        tags: &["静音推剪"],
        skus: &[sku("单次", 5_800, 8_000, None), sku("3 次卡", 14_800, 24_000, None).card(3, 240)],
        ..BASE
    },
    Goods {
        name: "陶艺手作体验",
        trade: Trade::Family,
        category: "手作课堂",
        color: "#A98467",
        intro: "拉坯或捏塑一件，烧制后到店自取。",
        points: &["约 90 分钟", "含一件成品烧制，约 15 天后取"],
        tags: &["手作", "全门店通用"],
        skus: &[sku("单人", 12_800, 18_800, Some(300)).days(60)],
        place: Where::Everywhere,
        ..BASE
    },
    Goods {
        name: "积木搭建课 5 次卡",
        trade: Trade::Family,
        category: "手作课堂",
        color: "#F4A261",
        intro: "按年龄分班的结构与机械启蒙课，每次一个主题。",
        points: &["每次 60 分钟", "适合 3 至 8 岁", "请按课表时段到店"],
        tags: &["次卡", "全门店通用"],
        skus: &[sku("5 次卡", 34_800, 50_000, None).card(5, 150).usable(CLASS)],
        place: Where::Everywhere,
        ..BASE
    },
    Goods {
        name: "亲子写真套餐",
        trade: Trade::Family,
        category: "摄影",
        color: "#8D99AE",
        intro: "服装两套，精修二十张，底片全送。特价商品不可退。",
        points: &["约 120 分钟", "精修二十张，底片全送", "相册一本"],
        tags: &["特价", "不可退"],
        skus: &[sku("一家三口", 39_800, 89_800, Some(150))
            .days(90)
            .refund(RefundPolicy::None)
            .limits(Some(1), Some(2))],
        deal: true,
        place: Where::Cities(&["上海", "北京", "广州", "深圳"]),
        ..BASE
    },
    // 零售
    Goods {
        name: "当季水果礼盒",
        trade: Trade::Retail,
        category: "生鲜",
        color: "#E63946",
        intro: "按当季产地搭配四种水果，下单后到店自提。",
        points: &["四种当季水果", "坏果包赔，提货 24 小时内联系门店"],
        tags: &["到店自提", "产地直采"],
        skus: &[
            sku("3 斤装", 6_900, 8_900, Some(600)).days(7),
            sku("5 斤装", 9_900, 13_900, Some(400)).days(7),
        ],
        recommended: true,
        hot: true,
        place: Where::Everywhere,
        ..BASE
    },
    Goods {
        name: "五常大米 5 千克",
        trade: Trade::Retail,
        category: "粮油",
        color: "#CCA43B",
        intro: "当年新米，真空包装，到店自提。",
        points: &["净含量 5 千克", "保质期 12 个月"],
        tags: &["到店自提"],
        skus: &[sku("一袋", 7_980, 9_980, Some(800)), sku("两袋", 14_980, 19_960, Some(400))],
        hot: true,
        place: Where::Everywhere,
        ..BASE
    },
    Goods {
        name: "冷萃乌龙茶饮 12 瓶",
        trade: Trade::Retail,
        category: "饮品",
        color: "#606C38",
        intro: "无糖冷萃，350 毫升装，整箱自提。",
        points: &["350 毫升 12 瓶", "无糖"],
        tags: &["到店自提"],
        skus: &[sku("一箱", 5_900, 7_200, Some(500))],
        place: Where::Everywhere,
        ..BASE
    },
    Goods {
        name: "手工曲奇礼盒",
        trade: Trade::Retail,
        category: "糕点",
        color: "#B08968",
        intro: "门店每日现烤，铁盒装，适合送礼。",
        points: &["黄油、抹茶、可可三味", "净含量 480 克"],
        tags: &["到店自提", "每日现烤"],
        skus: &[sku("一盒", 8_800, 10_800, Some(400)).days(15).limits(Some(10), None)],
        recommended: true,
        place: Where::Everywhere,
        ..BASE
    },
    Goods {
        name: "鲜牛奶自提卡",
        trade: Trade::Retail,
        category: "乳品",
        color: "#3A86FF",
        intro: "每次到店取一份当日鲜奶，两次之间至少隔 12 小时。",
        points: &["每次 950 毫升一盒", "按门店当日到货取用"],
        tags: &["次卡", "到店自提"],
        skus: &[
            sku("5 次卡", 9_500, 12_500, Some(300)).card(5, 45).pace(None, 720),
            sku("10 次卡", 17_900, 25_000, Some(300)).card(10, 90).pace(None, 720),
        ],
        place: Where::Everywhere,
        ..BASE
    },
    Goods {
        name: "50 元购物代金券",
        trade: Trade::Retail,
        category: "代金券",
        color: "#D62828",
        intro: "全场抵 50 元，烟酒除外。",
        points: &["抵扣 50 元，不找零", "每人限购 10 张"],
        tags: &["代金券", "全门店通用"],
        skus: &[sku("50 元券", 4_500, 5_000, Some(3_000)).days(60).limits(None, Some(10))],
        deal: true,
        place: Where::Everywhere,
        ..BASE
    },
    Goods {
        name: "家庭纸品组合装",
        trade: Trade::Retail,
        category: "日用",
        color: "#90BE6D",
        intro: "抽纸、卷纸、厨房纸一次备齐，到店自提。",
        points: &["抽纸 12 包，卷纸 10 卷，厨房纸 4 卷"],
        tags: &["到店自提", "特惠"],
        skus: &[sku("一套", 7_900, 11_900, Some(500))],
        deal: true,
        place: Where::Everywhere,
        ..BASE
    },
];
