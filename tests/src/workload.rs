//! A small shop on atomr: a node with realistic work.
//!
//! ```text
//! /user/orders      OrderDesk         order-42   Order     fraud-check     FraudCheck
//!                                                          invoice         Invoice
//! /user/payments    PaymentGateway    charge-42  Charge
//! /user/inventory   Warehouse         shelf-2    Shelf     reservation-42  Reservation
//! ```
//!
//! Customers place orders, each served by five actors for as long as it is open. A few dozen are
//! open at a time: when one more is placed, the oldest is settled and its actors stop. As in any
//! shop, not all goes well:
//!
//! - some charges fail at the first attempt: supervision **restarts** the actor;
//! - some fraud checks fail for good: supervision **stops** the actor;
//! - some customers write again after their order was settled: **dead letters**;
//! - every now and then a department changes its shift: it **stops**, with all its children, and
//!   another one **opens under its name**. What it was working on is lost.
//!
//! Only the order's number decides which orders are affected.

use std::collections::VecDeque;
use std::future::Future;
use std::time::Duration;

use async_trait::async_trait;
use atomr_core::actor::{Actor, ActorRef, ActorSystem, ActorSystemError, Context, Props};
use atomr_core::supervision::{Directive, OneForOneStrategy};
use atomscope_probe::observe::{Variants, observed};
use tokio::sync::oneshot;
use tokio::time::{MissedTickBehavior, interval};

use crate::spawns::Spawns;

/// A rate that means: as fast as possible.
pub const FULL_LOAD: u64 = 0;

/// At most so many actors are alive at once, at any rate.
pub const MAX_ACTORS: usize = 500;

/// An order spawns five actors, and stops them.
const OPERATIONS_PER_ORDER: u64 = 10;

const MAX_OPEN_ORDERS: u64 = 60;
const SETTLED_ORDERS: usize = 8;
const SHELVES: u64 = 6;

const _: () =
    assert!((MAX_OPEN_ORDERS as usize + SETTLED_ORDERS + 1) * 5 + SHELVES as usize + 3 < MAX_ACTORS);

/// A department keeps an entry for each child that it ever had, as any parent in atomr does. The change of shifts
/// therefore also limits the shop's memory.
const ORDERS_PER_SHIFT: u64 = 64;

const FLAKY_CHARGE_EVERY: u64 = 7;
const FRAUD_EVERY: u64 = 11;
const LATE_LETTER_EVERY: u64 = 5;

/// Runs the shop in `system` until `stop`, at about `rate` lifecycle operations (an actor spawned,
/// an actor stopped) per second, or at [`FULL_LOAD`]. At the end the shop's actors stop.
///
/// Under full load, spawn it as a task: with `block_on`, on a thread outside of the runtime, each order costs wake-ups
/// across threads.
///
/// # Errors
///
/// If the system already has a top-level actor with a name that the shop needs.
pub async fn run(
    system: &ActorSystem,
    spawns: &Spawns,
    rate: u64,
    stop: impl Future<Output = ()>,
) -> Result<(), ActorSystemError> {
    let mut shop = Shop::open(system, spawns, rate)?;
    tokio::select! {
        biased;
        () = stop => {}
        () = shop.trade(rate) => {}
    }
    shop.close().await;
    Ok(())
}

struct Shop<'a> {
    system: &'a ActorSystem,
    spawns: &'a Spawns,
    orders: Department<OrderDesk>,
    payments: Department<PaymentGateway>,
    inventory: Department<Warehouse>,
    placed: u64,
    max_open: usize,
    open: VecDeque<Purchase>,
    settled: VecDeque<Purchase>,
}

/// The actors of one order.
struct Purchase {
    number: u64,
    order: ActorRef<OrderMsg>,
    charge: ActorRef<ChargeMsg>,
    reservation: ActorRef<ReservationMsg>,
}

impl<'a> Shop<'a> {
    fn open(system: &'a ActorSystem, spawns: &'a Spawns, rate: u64) -> Result<Self, ActorSystemError> {
        let max_open =
            if rate == FULL_LOAD { MAX_OPEN_ORDERS } else { MAX_OPEN_ORDERS.min(12 + rate.isqrt()) };
        Ok(Self {
            system,
            spawns,
            orders: Department::open(system, spawns, "orders", |spawns| OrderDesk { spawns })?,
            payments: Department::open(system, spawns, "payments", |spawns| PaymentGateway { spawns })?,
            inventory: Department::open(system, spawns, "inventory", |spawns| Warehouse {
                spawns,
                shelves: Vec::new(),
            })?,
            placed: 0,
            max_open: max_open as usize,
            open: VecDeque::new(),
            settled: VecDeque::new(),
        })
    }

    /// Never returns.
    async fn trade(&mut self, rate: u64) {
        if rate == FULL_LOAD {
            loop {
                self.serve_a_customer().await;
            }
        }
        const TICKS_PER_SECOND: u64 = 50;
        let mut ticks = interval(Duration::from_secs(1) / TICKS_PER_SECOND as u32);
        // After a pause of the process, the missed orders are not placed all at once.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);

        let order = OPERATIONS_PER_ORDER * TICKS_PER_SECOND;
        let mut due = 0_u64;
        loop {
            ticks.tick().await;
            due = due.saturating_add(rate);
            while due >= order {
                due -= order;
                self.serve_a_customer().await;
            }
        }
    }

    async fn serve_a_customer(&mut self) {
        self.placed += 1;
        if self.placed.is_multiple_of(ORDERS_PER_SHIFT) {
            self.change_shift(self.placed / ORDERS_PER_SHIFT).await;
        }
        // Each step waits for an answer, so that no mailbox grows without limit.
        if let Some(purchase) = self.place(self.placed).await {
            self.open.push_back(purchase);
        }
        if self.open.len() > self.max_open
            && let Some(oldest) = self.open.pop_front()
        {
            oldest.settle();
            self.settled.push_back(oldest);
        }
        if self.settled.len() > SETTLED_ORDERS
            && let Some(gone) = self.settled.pop_front()
        {
            gone.has_ended().await;
            if gone.number.is_multiple_of(LATE_LETTER_EVERY) {
                gone.complain();
            }
        }
    }

    /// `None` if a department does not answer.
    async fn place(&self, number: u64) -> Option<Purchase> {
        let (order, charge, reservation) = tokio::join!(
            self.orders.ask(|reply| OrderDeskMsg::Open { number, reply }),
            self.payments.ask(|reply| PaymentMsg::Charge { number, reply }),
            self.inventory.ask(|reply| WarehouseMsg::Reserve { number, reply }),
        );
        let (order, charge, reservation) = (order?, charge?, reservation?);
        charge.tell(ChargeMsg::Capture { attempt: 1 });
        if number.is_multiple_of(FLAKY_CHARGE_EVERY) {
            charge.tell(ChargeMsg::Capture { attempt: 2 });
        }
        Some(Purchase { number, order, charge, reservation })
    }

    async fn change_shift(&mut self, shift: u64) {
        match shift % 3 {
            0 => self.orders.reopen(self.system, self.spawns).await,
            1 => self.payments.reopen(self.system, self.spawns).await,
            _ => self.inventory.reopen(self.system, self.spawns).await,
        }
    }

    async fn close(self) {
        self.orders.close().await;
        self.payments.close().await;
        self.inventory.close().await;
    }
}

impl Purchase {
    fn settle(&self) {
        self.order.tell(OrderMsg::Ship);
        self.charge.tell(ChargeMsg::Settle);
        self.reservation.tell(ReservationMsg::Collect);
    }

    async fn has_ended(&self) {
        ended(&self.order).await;
        ended(&self.charge).await;
        ended(&self.reservation).await;
    }

    /// The recipients have stopped.
    fn complain(&self) {
        self.order.tell(OrderMsg::Ship);
        self.charge.tell(ChargeMsg::Refund);
        self.reservation.tell(ReservationMsg::Collect);
    }
}

async fn ended<M: Send + 'static>(actor: &ActorRef<M>) {
    while !actor.is_terminated() {
        tokio::task::yield_now().await;
    }
}

/// A top-level actor that another one of its name replaces from time to time.
struct Department<A: Actor> {
    name: &'static str,
    props: Props<A>,
    staff: ActorRef<A::Msg>,
}

impl<A: Actor> Department<A> {
    fn open(
        system: &ActorSystem,
        spawns: &Spawns,
        name: &'static str,
        staff: fn(Spawns) -> A,
    ) -> Result<Self, ActorSystemError> {
        let of_staff = spawns.clone();
        let props = Props::create(move || staff(of_staff.clone()));
        let staff = spawns.top_level(system, props.clone(), name)?;
        Ok(Self { name, props, staff })
    }

    async fn reopen(&mut self, system: &ActorSystem, spawns: &Spawns) {
        self.staff.stop();
        self.staff = loop {
            match spawns.top_level(system, self.props.clone(), self.name) {
                Ok(staff) => break staff,
                // The predecessor still holds the name.
                Err(_) => tokio::task::yield_now().await,
            }
        };
    }

    async fn close(self) {
        self.staff.stop();
        ended(&self.staff).await;
    }

    /// `None` if it stops before it has answered.
    async fn ask<R: Send + 'static>(&self, question: impl FnOnce(oneshot::Sender<R>) -> A::Msg) -> Option<R> {
        self.staff.ask_with(question, Duration::from_secs(5)).await.ok()
    }
}

/// Stop the actors also when the shop was not closed properly, or did not open completely.
impl<A: Actor> Drop for Department<A> {
    fn drop(&mut self) {
        self.staff.stop();
    }
}

/// Unwinds like a panic, but without the panic hook: intended failures print nothing, and real panics still do.
fn fail(why: &'static str) -> ! {
    std::panic::resume_unwind(Box::new(why))
}

struct OrderDesk {
    spawns: Spawns,
}

#[derive(Variants)]
enum OrderDeskMsg {
    Open { number: u64, reply: oneshot::Sender<ActorRef<OrderMsg>> },
}

#[observed]
#[async_trait]
impl Actor for OrderDesk {
    type Msg = OrderDeskMsg;

    async fn handle(&mut self, ctx: &mut Context<Self>, msg: OrderDeskMsg) {
        let OrderDeskMsg::Open { number, reply } = msg;
        let spawns = self.spawns.clone();
        let order = Props::create(move || Order { spawns: spawns.clone(), number });
        if let Some(order) = self.spawns.child(ctx, order, &format!("order-{number}")) {
            let _ = reply.send(order);
        }
    }
}

struct Order {
    spawns: Spawns,
    number: u64,
}

#[derive(Variants)]
enum OrderMsg {
    Ship,
}

#[observed]
#[async_trait]
impl Actor for Order {
    type Msg = OrderMsg;

    async fn pre_start(&mut self, ctx: &mut Context<Self>) {
        let number = self.number;
        if let Some(invoice) = self.spawns.child(ctx, Props::create(Invoice::default), "invoice") {
            (0..=number % 3).for_each(|item| invoice.tell(InvoiceMsg::Item { cents: 100 * (item + 1) }));
        }
        let give_up = OneForOneStrategy::new().with_decider(|_| Directive::Stop);
        let check = Props::create(|| FraudCheck).with_supervisor_strategy(give_up.into());
        if let Some(check) = self.spawns.child(ctx, check, "fraud-check") {
            check.tell(FraudCheckMsg::Examine { number });
        }
    }

    async fn handle(&mut self, ctx: &mut Context<Self>, OrderMsg::Ship: OrderMsg) {
        ctx.stop_self();
    }
}

#[derive(Default)]
struct Invoice {
    total_cents: u64,
}

#[derive(Variants)]
enum InvoiceMsg {
    Item { cents: u64 },
}

#[observed]
#[async_trait]
impl Actor for Invoice {
    type Msg = InvoiceMsg;

    async fn handle(&mut self, _: &mut Context<Self>, InvoiceMsg::Item { cents }: InvoiceMsg) {
        self.total_cents += cents;
    }
}

struct FraudCheck;

#[derive(Variants)]
enum FraudCheckMsg {
    Examine { number: u64 },
}

#[observed]
#[async_trait]
impl Actor for FraudCheck {
    type Msg = FraudCheckMsg;

    async fn handle(&mut self, _: &mut Context<Self>, FraudCheckMsg::Examine { number }: FraudCheckMsg) {
        if number.is_multiple_of(FRAUD_EVERY) {
            fail("the card was reported stolen");
        }
    }
}

struct PaymentGateway {
    spawns: Spawns,
}

#[derive(Variants)]
enum PaymentMsg {
    Charge { number: u64, reply: oneshot::Sender<ActorRef<ChargeMsg>> },
}

#[observed]
#[async_trait]
impl Actor for PaymentGateway {
    type Msg = PaymentMsg;

    async fn handle(&mut self, ctx: &mut Context<Self>, msg: PaymentMsg) {
        let PaymentMsg::Charge { number, reply } = msg;
        let charge = Props::create(move || Charge { number, captured: false })
            .with_supervisor_strategy(OneForOneStrategy::new().with_max_retries(3).into());
        if let Some(charge) = self.spawns.child(ctx, charge, &format!("charge-{number}")) {
            let _ = reply.send(charge);
        }
    }
}

struct Charge {
    number: u64,
    captured: bool,
}

#[derive(Variants)]
enum ChargeMsg {
    Capture { attempt: u32 },
    Refund,
    Settle,
}

#[observed]
#[async_trait]
impl Actor for Charge {
    type Msg = ChargeMsg;

    async fn handle(&mut self, ctx: &mut Context<Self>, msg: ChargeMsg) {
        match msg {
            ChargeMsg::Capture { attempt: 1 } if self.number.is_multiple_of(FLAKY_CHARGE_EVERY) => {
                fail("the card network timed out");
            }
            ChargeMsg::Capture { .. } => self.captured = true,
            ChargeMsg::Refund => self.captured = false,
            ChargeMsg::Settle => ctx.stop_self(),
        }
    }
}

struct Warehouse {
    spawns: Spawns,
    shelves: Vec<ActorRef<WarehouseMsg>>,
}

#[derive(Variants)]
enum WarehouseMsg {
    Reserve { number: u64, reply: oneshot::Sender<ActorRef<ReservationMsg>> },
}

#[observed]
#[async_trait]
impl Actor for Warehouse {
    type Msg = WarehouseMsg;

    async fn pre_start(&mut self, ctx: &mut Context<Self>) {
        let spawns = self.spawns.clone();
        let shelf = Props::create(move || Shelf { spawns: spawns.clone() });
        self.shelves = (0..SHELVES)
            .filter_map(|n| self.spawns.child(ctx, shelf.clone(), &format!("shelf-{n}")))
            .collect();
    }

    async fn handle(&mut self, _: &mut Context<Self>, msg: WarehouseMsg) {
        let WarehouseMsg::Reserve { number, .. } = msg;
        if let Some(shelf) = self.shelves.get((number % SHELVES) as usize) {
            shelf.tell(msg);
        }
    }
}

struct Shelf {
    spawns: Spawns,
}

#[observed]
#[async_trait]
impl Actor for Shelf {
    type Msg = WarehouseMsg;

    async fn handle(&mut self, ctx: &mut Context<Self>, msg: WarehouseMsg) {
        let WarehouseMsg::Reserve { number, reply } = msg;
        if let Some(goods) =
            self.spawns.child(ctx, Props::create(|| Reservation), &format!("reservation-{number}"))
        {
            let _ = reply.send(goods);
        }
    }
}

struct Reservation;

#[derive(Variants)]
enum ReservationMsg {
    Collect,
}

#[observed]
#[async_trait]
impl Actor for Reservation {
    type Msg = ReservationMsg;

    async fn handle(&mut self, ctx: &mut Context<Self>, ReservationMsg::Collect: ReservationMsg) {
        ctx.stop_self();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storms::Oracle;
    use atomr_core::actor::{ActorPath, DeadLetterObserver, SpawnObserver};
    use std::collections::BTreeSet;
    use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
    use std::sync::{Arc, Mutex};
    use tokio::sync::Notify;

    /// Counts the events that a test waits for.
    #[derive(Default)]
    struct Visitor {
        oracle: Oracle,
        /// Signed, because a stop may be published before its spawn.
        live: AtomicI64,
        most_live: AtomicI64,
        desks_opened: AtomicUsize,
        seen_enough: Notify,
        dead_letters: Mutex<BTreeSet<&'static str>>,
    }

    impl SpawnObserver for Visitor {
        fn on_spawn(&self, path: &ActorPath, parent: Option<&ActorPath>, actor_type: &'static str) {
            self.oracle.on_spawn(path, parent, actor_type);
            self.most_live.fetch_max(self.live.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            if path.name() == "orders" && self.desks_opened.fetch_add(1, Ordering::SeqCst) + 1 == 20 {
                self.seen_enough.notify_one();
            }
        }

        fn on_stop(&self, path: &ActorPath) {
            self.oracle.on_stop(path);
            self.live.fetch_sub(1, Ordering::SeqCst);
        }
    }

    impl DeadLetterObserver for Visitor {
        fn on_dead_letter(&self, _: &ActorPath, _: Option<&ActorPath>, message_type: &'static str) {
            self.dead_letters.lock().unwrap().insert(message_type.rsplit("::").next().unwrap());
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn under_full_load_the_shop_stays_small_and_leaves_nothing_behind() {
        let system = ActorSystem::create("Shop", Default::default()).await.unwrap();
        let visitor = Arc::new(Visitor::default());
        system.set_spawn_observer(visitor.clone());
        system.set_dead_letter_observer(visitor.clone());

        run(&system, &Spawns::default(), FULL_LOAD, visitor.seen_enough.notified()).await.unwrap();

        // Await them, because orders that have not started yet still spawn and stop their children.
        let all_gone = async {
            while !visitor.oracle.live().is_empty() {
                tokio::task::yield_now().await;
            }
        };
        let gone = tokio::time::timeout(Duration::from_secs(60), all_gone).await;
        assert!(gone.is_ok(), "left behind: {:?}", visitor.oracle.live());
        let most_live = visitor.most_live.load(Ordering::SeqCst);
        assert!(most_live <= MAX_ACTORS as i64, "{most_live}");
        let message_types = visitor.dead_letters.lock().unwrap().clone();
        assert!(
            message_types.is_superset(&["OrderMsg", "ChargeMsg", "ReservationMsg"].into()),
            "{message_types:?}"
        );
    }

    #[tokio::test]
    async fn a_shop_that_finds_a_name_taken_closes_what_it_had_opened() {
        let system = ActorSystem::create("Shop", Default::default()).await.unwrap();
        system.actor_of(Props::create(|| PaymentGateway { spawns: Spawns::default() }), "payments").unwrap();

        let opened = run(&system, &Spawns::default(), 100, std::future::pending()).await;

        assert!(matches!(opened, Err(ActorSystemError::NameTaken(name)) if name == "payments"));
        let orders_is_free = async {
            while system
                .actor_of(Props::create(|| OrderDesk { spawns: Spawns::default() }), "orders")
                .is_err()
            {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), orders_is_free).await.expect("the name is free again");
    }
}
