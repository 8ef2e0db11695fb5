// A meter as eBPF would have it, to be measured and not to be used: at the LAN's ingress, one lookup by MAC and address leads to a session with its
// end, its bucket and its counters, a second one to the quota that it shares. What the gate's rules do for a packet up, no more and no less.
//
// clang-14 -O2 -g -target bpf -c meter.c -o meter.o

typedef unsigned char u8;
typedef unsigned int u32;
typedef unsigned long long u64;

#define SEC(name) __attribute__((section(name), used))
#define __uint(name, value) int(*name)[value]
#define __type(name, value) typeof(value) *name
#define BPF_MAP_TYPE_HASH 1
#define TC_ACT_OK 0
#define TC_ACT_SHOT 2
#define ETHERNET 14
#define IPV4 0x0008

struct bpf_spin_lock {
	u32 value;
};

struct __sk_buff {
	u32 len, pkt_type, mark, queue_mapping, protocol, vlan_present, vlan_tci, vlan_proto, priority, ingress_ifindex, ifindex, tc_index, cb[5], hash,
		tc_classid, data, data_end;
};

static void *(*bpf_map_lookup_elem)(void *, const void *) = (void *)1;
static u64 (*bpf_ktime_get_ns)(void) = (void *)5;
static long (*bpf_spin_lock)(struct bpf_spin_lock *) = (void *)93;
static long (*bpf_spin_unlock)(struct bpf_spin_lock *) = (void *)94;

struct key {
	u8 mac[6], none[2];
	u32 ipv4;
};

struct session {
	struct bpf_spin_lock lock;
	u32 mark;
	u64 nanos_per_octet, burst_nanos, saved_nanos, last, octets, packets, ends;
	u32 pool, none;
};

struct pool {
	struct bpf_spin_lock lock;
	u32 none;
	u64 used, limit;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 131072);
	__type(key, struct key);
	__type(value, struct session);
} sessions SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 131072);
	__type(key, u32);
	__type(value, struct pool);
} pools SEC(".maps");

static int within_speed(struct session *session, u64 now, u64 octets)
{
	u64 cost = octets * session->nanos_per_octet, saved;
	int is_within = 0;

	bpf_spin_lock(&session->lock);
	saved = session->saved_nanos + (now - session->last);
	if (saved > session->burst_nanos)
		saved = session->burst_nanos;
	session->last = now;
	if (saved >= cost) {
		saved -= cost;
		is_within = 1;
	}
	session->saved_nanos = saved;
	bpf_spin_unlock(&session->lock);
	return is_within;
}

static int within_quota(struct pool *pool, u64 octets)
{
	int is_within;

	bpf_spin_lock(&pool->lock);
	is_within = pool->used + octets <= pool->limit;
	if (is_within)
		pool->used += octets;
	bpf_spin_unlock(&pool->lock);
	return is_within;
}

SEC("tc") int up(struct __sk_buff *packet)
{
	u8 *frame = (void *)(long)packet->data, *end = (void *)(long)packet->data_end;
	struct key key = {};
	struct session *session;
	struct pool *pool;
	u64 now, octets;
	u32 number;

	if (frame + ETHERNET + 20 > end || packet->protocol != IPV4)
		return TC_ACT_OK;
	__builtin_memcpy(key.mac, frame + 6, 6);
	key.ipv4 = *(u32 *)(frame + ETHERNET + 12);
	session = bpf_map_lookup_elem(&sessions, &key);
	if (!session)
		return TC_ACT_OK; // a stranger, whom the rules judge
	now = bpf_ktime_get_ns();
	octets = packet->len - ETHERNET;
	if ((session->ends && now > session->ends) || !within_speed(session, now, octets))
		return TC_ACT_SHOT;
	number = session->pool;
	pool = bpf_map_lookup_elem(&pools, &number);
	if (!pool || !within_quota(pool, octets))
		return TC_ACT_SHOT;
	__sync_fetch_and_add(&session->octets, octets);
	__sync_fetch_and_add(&session->packets, 1);
	packet->mark = session->mark;
	return TC_ACT_OK;
}

char _license[] SEC("license") = "GPL";
