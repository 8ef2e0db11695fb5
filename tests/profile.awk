# Sorts samples of `perf script -F comm,ip,sym,dso` by what the innermost function of ours was doing; prints shares of the time.
BEGIN { RS = ""; FS = "\n" }

function part(stack, comm) {
  kernel = stack ~ /\(\[kernel/
  if (comm ~ /sqlite/) return kernel ? "SQLite, the kernel's part: its log" : "SQLite"
  # The same calls serve PostgreSQL's socket.
  if (kernel && stack ~ /unix_|tcp_|sqlx/) return "the database's driver: the kernel's part"
  if (kernel && stack ~ /udp_send|listener::send/) return "answers sent: the kernel's part"
  if (kernel && stack ~ /udp_recv|receive_many/) return "requests received: the kernel's part"
  if (kernel) return "the kernel: threads, memory"
  for (line = 2; line <= NF; line++) {
    if ($line ~ /kavadam_radius::(wire|accounting|authentication|profile)/) return "packets: read, verified, written, signed"
    if ($line ~ /kavadam_radius::(duplicates|server::intake)|listener::Job/) return "copies: remembered, looked for"
    if ($line ~ /kavadam_store::carry|postcard/) return "subscribers: unpacked, packed"
    if ($line ~ /kavadam_store::(bulk|together|sqlite|working::write)/) return "statements: put together"
    if ($line ~ /kavadam_store/) return "rows in hand"
    if ($line ~ /kavadam_(access|domain)/) return "decisions, batches"
    if ($line ~ /kavadam_radius/) return "doors: queues, counters, tasks"
    if ($line ~ /sqlx/) return "the database's driver"
  }
  return "runtime and allocator, whosever"
}

{
  count[part($0, $1)]++
  all++
}

END {
  for (name in count) printf "%5.1f %%  %s\n", 100 * count[name] / all, name | "sort -rn"
}
