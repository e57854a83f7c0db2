//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{anyhow, ensure};
use clap::{Args, Parser, Subcommand};
use hexiao_db::migrate;
use tracing_subscriber::EnvFilter;

use crate::bench_seed::SeedArgs;
use crate::config::{Config, LogFormat, Mode, Switch};
use crate::init::InitArgs;
use crate::{
    bench_seed, compose, demo, documents, init, jobs, password, serve, simulator, staff, verify, walk,
};

/// 核销商城：线上购买、到店核销。
#[derive(Parser)]
#[command(name = "hexiao", version, about, long_about = None, max_term_width = 110, after_help = "\
例子：
  hexiao demo                         一条命令试用：演示商家 + 微信模拟器
  hexiao walk                         对着运行中的服务走完购买、核销、撤销、退款
  hexiao init --name 老王火锅          创建真实的第一个商家
  hexiao serve                        启动服务（读 hexiao.toml 和 HEXIAO_* 环境变量）
  hexiao verify                       检查数据的每一条不变式
  hexiao jobs list --dead             失败太多次、等人处理的后台任务
")]
struct Cli {
    /// 配置文件；默认读当前目录的 hexiao.toml（如果有）
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

const INIT_EXAMPLES: &str = "\
例子：
  hexiao init                         在终端逐项询问
  hexiao init --production --data /srv/hexiao --name 老王火锅 --owner-name 老王 \\
    --owner-phone 13912345678 --owner-password-file password.txt \\
    --mchid 1230000109 --appid wx1234567890abcdef
  hexiao init --production --mchid 1230000109 --sub-mchid 1900000109   服务商模式";

#[derive(Subcommand)]
enum Command {
    /// 创建真实的第一个商家：老板、支付账号、默认规则、四份协议
    #[command(after_help = INIT_EXAMPLES)]
    Init {
        /// 按 production 模式创建密钥和商家
        #[arg(long)]
        production: bool,
        #[command(flatten)]
        data: DataArgs,
        #[command(flatten)]
        args: InitArgs,
    },
    /// 启动服务
    Serve(ServeArgs),
    /// 建立或升级数据库结构
    #[command(after_help = "\
例子：
  hexiao migrate                      数据目录里的 SQLite；升级程序后、启动服务前运行
  hexiao migrate --database-url postgres://user@127.0.0.1/hexiao")]
    Migrate(DataArgs),
    /// 演示：载入演示商家并启动服务和微信模拟器
    #[command(after_help = "\
例子：
  hexiao demo                         端口 8080，模拟器 8090，数据在 ./data
  hexiao demo --port 9000 --data /tmp/hexiao-demo
  hexiao demo --load-only             只载入数据")]
    Demo {
        #[command(flatten)]
        data: DataArgs,
        /// 端口；模拟器用它加 10
        #[arg(long, default_value_t = 8080)]
        port: u16,
        /// 只载入数据，不启动服务
        #[arg(long)]
        load_only: bool,
    },
    /// 检查数据的每一条不变式，打印第一处不成立的地方（可以在运行中的服务上执行）
    #[command(after_help = "\
例子：
  hexiao verify
  hexiao verify --data /srv/hexiao
  hexiao verify --database-url postgres://user@127.0.0.1/hexiao || echo 数据有问题")]
    Verify(DataArgs),
    /// 员工账号
    #[command(after_help = "例子：\n  hexiao staff reset-password --phone 13800000001")]
    Staff {
        #[command(subcommand)]
        command: StaffCommand,
    },
    /// 后台任务：查看、重试
    #[command(after_help = "例子：\n  hexiao jobs list --dead\n  hexiao jobs retry --all")]
    Jobs {
        #[command(subcommand)]
        command: JobsCommand,
    },
    /// 以顾客、核销员、商家三个客户端走完整个流程，并核对每一步
    Walk(walk::WalkArgs),
    /// 打印 OpenAPI 文档
    #[command(after_help = "例子：\n  hexiao openapi > openapi.json")]
    Openapi,
    /// 打印错误码文档
    #[command(after_help = "例子：\n  hexiao errors > ERRORS.md")]
    Errors,
    /// 单独运行微信模拟器（压测用）
    #[command(hide = true)]
    BenchSimulator(DataArgs),
    /// 为压测准备数据
    #[command(hide = true)]
    BenchSeed {
        #[command(flatten)]
        data: DataArgs,
        #[command(flatten)]
        args: SeedArgs,
    },
}

#[derive(Subcommand)]
enum StaffCommand {
    /// 重设密码并退出其所有登录；密码在终端询问（不显示），或从标准输入读一行
    #[command(after_help = "\
例子：
  hexiao staff reset-password --phone 13800000001
  echo 新密码123 | hexiao staff reset-password --phone 13800000001")]
    ResetPassword {
        #[command(flatten)]
        data: DataArgs,
        /// 员工手机号
        #[arg(long)]
        phone: String,
    },
}

#[derive(Subcommand)]
enum JobsCommand {
    /// 列出未完成的任务，新的在前（可以在运行中的服务上执行）
    #[command(after_help = "例子：\n  hexiao jobs list\n  hexiao jobs list --dead --data /srv/hexiao")]
    List {
        #[command(flatten)]
        data: DataArgs,
        /// 只列出失败太多次、已停止的
        #[arg(long)]
        dead: bool,
    },
    /// 重试已停止的任务（先排除失败的原因；可以在运行中的服务上执行）
    #[command(
        after_help = "例子：\n  hexiao jobs retry job_01h455vb4pex5vsknk084sn02q\n  hexiao jobs retry --all --data /srv/hexiao"
    )]
    Retry {
        #[command(flatten)]
        data: DataArgs,
        /// 任务编号，见 hexiao jobs list --dead
        #[arg(required_unless_present = "all", conflicts_with = "all")]
        id: Option<String>,
        /// 所有已停止的任务
        #[arg(long)]
        all: bool,
    },
}

#[derive(Args, Clone)]
struct DataArgs {
    /// 数据目录：数据库、密钥、模拟器记录
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// sqlite://… 或 postgres://…；默认用数据目录里的 SQLite
    #[arg(long, value_name = "URL")]
    database_url: Option<String>,
}

#[derive(Args)]
#[command(after_help = "\
例子：
  hexiao serve
  hexiao serve --check
  hexiao serve --listen 127.0.0.1:9000 --no-simulator --wechat-url http://127.0.0.1:8090
  HEXIAO_DATABASE_URL=postgres://user@127.0.0.1/hexiao hexiao serve

配置的键（hexiao.toml 或 HEXIAO_ 加大写）：mode listen public_url data database_url database_connections
  job_lease_s drain_s simulator simulator_listen wechat_pay_url wechat_api_url mini_appid mini_secret rate_limits trusted_proxies
  metrics_listen log_format retention_attempts_days retention_audit_days")]
struct ServeArgs {
    #[command(flatten)]
    data: DataArgs,
    /// 监听地址
    #[arg(long, value_name = "HOST:PORT")]
    listen: Option<SocketAddr>,
    /// 微信模拟器的端口
    #[arg(long, value_name = "PORT")]
    simulator_port: Option<u16>,
    /// 不启动微信模拟器
    #[arg(long)]
    no_simulator: bool,
    /// 微信（或另外启动的模拟器）的地址
    #[arg(long, value_name = "URL")]
    wechat_url: Option<String>,
    /// 只检查能否启动（配置、数据库结构、密钥、支付账号），不启动服务
    #[arg(long)]
    check: bool,
}

impl DataArgs {
    fn apply(self, config: &mut Config) {
        if let Some(data) = self.data {
            config.data = data;
        }
        if self.database_url.is_some() {
            config.database_url = self.database_url;
        }
    }
}

/// Runs the program.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("错误：{error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(run(cli)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("错误：{error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(cli: Cli) -> anyhow::Result<()> {
    let file = cli.config;
    let load = |data: DataArgs| -> anyhow::Result<Config> {
        let mut config = Config::load(file.as_deref())?;
        data.apply(&mut config);
        log_to_stderr(config.log_format);
        Ok(config)
    };
    match cli.command {
        Command::Init { production, data, args } => {
            let mut config = load(data)?;
            if production {
                config.mode = Mode::Production;
            }
            init::run(&config, args).await
        }
        Command::Serve(args) => {
            let mut config = load(args.data)?;
            if let Some(listen) = args.listen {
                config.listen = listen;
            }
            if let Some(port) = args.simulator_port {
                config.simulator_listen.set_port(port);
            }
            if args.no_simulator {
                config.simulator = Switch::Off;
            }
            if let Some(url) = args.wechat_url {
                config.simulator = Switch::Off;
                config.wechat_pay_url = Some(url.clone());
                config.wechat_api_url = Some(url);
            }
            if args.check {
                serve::check(&config).await?;
                println!("可以启动：配置、数据库结构、密钥和支付账号都没有问题");
                return Ok(());
            }
            serve_until_stopped(&config, |_| Ok(())).await
        }
        Command::Migrate(data) => {
            let config = load(data)?;
            migrate::migrate(&compose::open_db(&config).await?).await?;
            println!("数据库结构已是最新");
            Ok(())
        }
        Command::Demo { data, port, load_only } => run_demo(load(data)?, port, load_only).await,
        Command::Verify(data) => verify::run(&load(data)?).await,
        Command::Staff { command: StaffCommand::ResetPassword { data, phone } } => {
            let config = load(data)?;
            let password = password::read_new("新密码")?;
            let db = compose::open_db(&config).await?;
            let app = compose::app(&config, db, compose::wechat_urls(&config, None), String::new()).await?;
            staff::reset_password(&app, &phone, &password).await
        }
        Command::Jobs { command: JobsCommand::List { data, dead } } => jobs::list(&load(data)?, dead).await,
        Command::Jobs { command: JobsCommand::Retry { data, id, all: _ } } => {
            jobs::retry(&load(data)?, id.as_deref()).await
        }
        Command::Walk(args) => walk::run(args).await,
        Command::Openapi => {
            print!("{}", documents::openapi()?);
            Ok(())
        }
        Command::Errors => {
            print!("{}", documents::errors());
            Ok(())
        }
        Command::BenchSimulator(data) => {
            let simulator = simulator::start(&load(data)?).await?;
            println!("微信模拟器：{}", simulator.url());
            serve::stop_signal().await?;
            simulator.shutdown().await;
            Ok(())
        }
        Command::BenchSeed { data, args } => bench_seed::run(&load(data)?, args).await,
    }
}

fn log_to_stderr(format: LogFormat) {
    let filter =
        EnvFilter::try_from_env("RUST_LOG").unwrap_or_else(|_| EnvFilter::new("info,sqlx=warn,hyper=warn"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // A second call in one process (tests) keeps the first subscriber.
    let _ = match format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
}

async fn serve_until_stopped(
    config: &Config,
    ready: impl FnOnce(&serve::Running) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let running = serve::start(config).await?;
    println!("hexiao 已启动：{}", running.url);
    if let Some(simulator) = &running.simulator {
        println!("微信模拟器：   {}", simulator.url());
    }
    if config.mode == Mode::Dev {
        println!("dev 模式：只监听本机，不能收真钱");
    }
    ready(&running)?;
    serve::stop_signal().await?;
    println!("正在停止 …");
    running.stop().await;
    println!("已停止");
    Ok(())
}

async fn run_demo(mut config: Config, port: u16, load_only: bool) -> anyhow::Result<()> {
    ensure!(config.mode == Mode::Dev, "演示数据只能用于 dev 模式");
    config.listen.set_port(port);
    config.simulator_listen.set_port(port.checked_add(10).ok_or_else(|| anyhow!("端口太大"))?);
    let db = compose::prepare_dev(&config).await?;
    let app = compose::app(&config, db, compose::wechat_urls(&config, None), String::new()).await?;
    let data = demo::data::demo_data(demo::data::DEMO_SEED);
    let fresh = demo::load(&app, &config.mini_appid, &data, |what| println!("  {what} …")).await?;
    println!("{}", if fresh { "演示数据已载入" } else { "沿用已有的数据" });
    drop(app);
    if load_only {
        return Ok(());
    }
    serve_until_stopped(&config, |running| {
        print_guide(running, &data);
        Ok(())
    })
    .await
}

fn print_guide(running: &serve::Running, data: &demo::data::DemoData) {
    let url = &running.url;
    let simulator = running.simulator.as_ref().map(hexiao_wechat_sim::SimHandle::url).unwrap_or_default();
    println!(
        "\n接口文档  {url}/api/docs\n健康检查  {url}/readyz\n指标      {}\n\n账号（密码都是 {}）：",
        running.metrics_url,
        demo::data::DEMO_PASSWORD
    );
    let mut seen = Vec::new();
    for member in &data.staff {
        if !seen.contains(&member.role) {
            seen.push(member.role);
            println!("  {:<14} {}  {}", member.role.as_str(), member.phone, member.name);
        }
    }
    println!(
        "\n试一试：\n  另开一个终端，运行 hexiao walk --server {url} --simulator {simulator}\n  \
         附近的门店  curl '{url}/api/v1/customer/stores?lat=31.2304&lng=121.4737&limit=3'\n  \
         检查数据    hexiao verify\n\n按 Ctrl-C 停止"
    );
}
