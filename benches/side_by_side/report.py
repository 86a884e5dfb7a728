"""From the rows of a run to its tables."""
import json
import statistics

NAMES = {
    "raw": "bare C, prepared bytes on a socket, unmetered",
    "hyper": "bare hyper, unmetered",
    "hyper-other": "the same on another thread, for which the caller waits",
    "hyper+record": "bare hyper, a POST of a record for each call",
    "ours": "librevenium, functions that wait",
    "ours-nospool": "librevenium, functions that wait, no spool",
    "ours-nospool-spans": "the same, with a span of each call exported",
    "ours-queue": "librevenium, completion queue",
    "ours-queue-nospool": "librevenium, completion queue, no spool",
    "go": "librevenium from Go",
    "node": "librevenium from Node.js",
}
# Scenario: what the column is called, the unit, how many of it make a microsecond, and the base of its ratio.
COLUMNS = {
    "create": ("create", "µs", 1, "hyper+record"),
    "create64": ("create, 64 at once", "µs", 1, "hyper+record"),
    "burst": ("delta in a burst of 1,000, 16 KiB chunks", "ns", 1000, "hyper"),
    "chunks": ("delta in a burst of 1,000, a chunk each", "ns", 1000, "hyper"),
    "paced": ("paced delta, 64 streams", "µs", 1, "hyper"),
    "slow": ("slow delta, {streams:,} streams", "µs", 1, "hyper"),
}
MIB = 1 << 20


class Figure:
    """One value for each round: their median, and their extremes, which are the machine's noise."""

    def __init__(self, values):
        self.values = list(values)

    def __bool__(self):
        return bool(self.values)

    @property
    def median(self):
        return statistics.median(self.values)

    def show(self, digits=2):
        low, high = min(self.values), max(self.values)
        return f"{self.median:,.{digits}f} ({low:,.{digits}f}..{high:,.{digits}f})"


class Run:
    def __init__(self, rows):
        self.rows = {(row["scenario"], row["client"], row["round"]): row for row in rows}

    def column(self, scenario, client, value=lambda row: row["unit_us"]):
        return {at: value(row) for (s, c, at), row in self.rows.items() if (s, c) == (scenario, client)}

    def figure(self, scenario, client, value=lambda row: row["unit_us"]):
        return Figure(self.column(scenario, client, value).values())

    def beside(self, scenario, client, base, compare):
        """Both sides are of the same round."""
        ours, theirs = self.column(scenario, client), self.column(scenario, base)
        return Figure(compare(ours[at], theirs[at]) for at in ours if at in theirs)

    def pairs(self, scenario, client, base):
        """The rows of both, round by round."""
        ours, theirs = (self.column(scenario, name, lambda row: row) for name in (client, base))
        return [(ours[at], theirs[at]) for at in ours if at in theirs]

    def beside_itself(self, scenario, base, client):
        """A client's rows in two scenarios, round by round."""
        ours, theirs = (self.column(name, client, lambda row: row) for name in (scenario, base))
        return [(ours[at], theirs[at]) for at in ours if at in theirs]

    def ratio(self, scenario, client, base):
        return self.beside(scenario, client, base, lambda ours, theirs: ours / theirs)

    def more(self, scenario, client, base, scale=1):
        return self.beside(scenario, client, base, lambda ours, theirs: (ours - theirs) * scale)


def table(head, rows):
    lines = [f"| {' | '.join(head)} |", f"| {' | '.join('---' for _ in head)} |"]
    return "\n".join(lines + [f"| {' | '.join(row)} |" for row in rows])


def clients(run, about):
    heads = [f"{what.format(**about)}, {unit} (× {base})" for what, unit, _, base in COLUMNS.values()]
    rows = []
    for name in about["clients"]:
        cells = []
        for scenario, (_, _, scale, base) in COLUMNS.items():
            figure, ratio = run.figure(scenario, name), run.ratio(scenario, name, base)
            value = f"{figure.median * scale:,.{0 if scale > 1 or figure.median >= 100 else 1}f}" if figure else "–"
            cells.append(f"{value}: {ratio.show()} ×" if figure and ratio else value)
        rows.append([NAMES[name]] + cells)
    return table(["processor time of"] + heads, rows)


def targets(run, about, inner):
    """What is aimed at, what was measured, and whether that is met by the median."""
    rows = []

    def aim(what, figure, target, unit="", at_least=False, digits=2):
        if not figure:
            rows.append([what, f"{'≥' if at_least else '≤'} {target:,g}{unit}", "not measured", ""])
            return
        met = figure.median >= target if at_least else figure.median <= target
        sign = "≥" if at_least else "≤"
        rows.append([what, f"{sign} {target:,g}{unit}", f"{figure.show(digits)}{unit}", "met" if met else "**missed**"])

    base = "hyper+record"
    waited = Figure(ours["p50_us"] / theirs["p50_us"] for ours, theirs in run.pairs("waits", "ours", "hyper-other"))
    aim("a caller waits ÷ hyper-other, median", waited, 1.5, " ×")
    drained = Figure(drains["p99_us"] / idle["p99_us"] for drains, idle in run.beside_itself("drains", "waits", "ours"))
    aim("99 of 100 wait so long while a backlog leaves ÷ without one", drained, 2.0, " ×")
    aim(f"create ÷ {base}", run.ratio("create", "ours", base), 2.4, " ×")
    aim("create with the spool ÷ without", run.ratio("create", "ours", "ours-nospool"), 1.05, " ×")
    aim(f"create, 64 threads ÷ {base}", run.ratio("create64", "ours", base), 2.4, " ×")
    aim(f"create, 64 in a queue ÷ {base}", run.ratio("create64", "ours-queue", base), 2.0, " ×")
    # A stream has one record: a spool is all the same to its deltas.
    suffix = "" if about["has_spool"] else "-nospool"
    for client, how, paced in (("ours" + suffix, "", 2.0), ("ours-queue" + suffix, ", queue", 1.2)):
        aim(f"delta in a burst over hyper{how}", run.more("burst", client, "hyper", 1000), 250, " ns", digits=0)
        aim(f"the same, a chunk each{how}", run.more("chunks", client, "hyper", 1000), 250, " ns", digits=0)
        aim(f"paced delta ÷ hyper{how}", run.ratio("paced", client, "hyper"), paced, " ×")
    slow = "ours-queue" + suffix
    streams = f"{about['streams']:,} slow streams"
    per_stream = run.figure("slow", slow, lambda row: (row["peak_kib"] - row["idle_kib"]) / row["calls"])
    aim(f"{streams}: memory of one over an idle process", per_stream, 40, " KiB", digits=1)
    aim(f"{streams}: threads", run.figure("slow", slow, lambda row: row["threads"]), 11, digits=0)
    aim(f"{streams}: delta ÷ hyper", run.ratio("slow", slow, "hyper"), 1.3, " ×")
    aim("load and init, over the start of bare C", run.more("start", "ours" + suffix, "raw", 1e-3), 1, " ms")
    aim("the library, stripped", Figure([about["library_bytes"] / MIB]), 9, " MiB", digits=1)
    small = about["small_library_bytes"]
    aim("the same without Bedrock", Figure([small / MIB] if small else []), 4.5, " MiB", digits=1)
    record = Figure(ns / 1000 for name, ns in inner if name == "record")
    aim("build and serialise a record", record, 4, " µs")
    of_delivery = {name.rsplit("/", 1)[-1]: ns / 1000 for name, ns in inner if name.startswith("delivery of")}
    for size, most in ((1, 2.5), (64, 1)):
        appended = [of_delivery[f"journal, {size} to a write"] - of_delivery["push"]] if "push" in of_delivery else []
        aim(f"append to the journal, {size} to a write", Figure(appended), most, " µs")
    aim("spool, one after the other", run.more("create", "ours", "ours-nospool"), 16, " µs", digits=1)
    aim("spool, 64 at once", run.more("create64", "ours-queue", "ours-queue-nospool"), 6, " µs", digits=1)
    aim("make a span", Figure(ns / 1000 for name, ns in inner if name == "span"), 8, " µs")
    aim("spans, one call after the other", run.more("create", "ours-nospool-spans", "ours-nospool"), 16, " µs", digits=1)
    aim("spans, 64 at once", run.more("create64", "ours-nospool-spans", "ours-nospool"), 16, " µs", digits=1)
    for name, over in (("go", 10), ("node", 60)):
        if name in about["clients"]:
            rate = run.figure("burst", name, lambda row: row["deltas"] / row["wall_us"] * 1e6)
            aim(f"{name}: events read and decoded a second", rate, 500_000, at_least=True, digits=0)
            aim(f"{name}: create over the C API", run.more("create", name, slow), over, " µs", digits=1)
            aim(f"{name}: create over the C API, 64 at once", run.more("create64", name, slow), over, " µs", digits=1)
    return table(["aim", "target", "measured (min..max)", ""], rows)


def streams(run, about):
    rows = []
    for name in about["clients"]:
        kib = run.figure("slow", name, lambda row: (row["peak_kib"] - row["idle_kib"]) / row["calls"])
        if kib:
            peak = run.figure("slow", name, lambda row: row["peak_kib"] / 1024)
            threads = run.figure("slow", name, lambda row: row["threads"])
            rows.append([NAMES[name], kib.show(1), f"{peak.median:.0f}", f"{threads.median:.0f}"])
    return table([f"{about['streams']:,} slow streams", "KiB each", "MiB at most", "threads"], rows)


def waits(run, about):
    rows = []
    for name in about["clients"]:
        p50, p99 = (run.figure("waits", name, lambda row, at=at: row[at]) for at in ("p50_us", "p99_us"))
        if p50:
            more = run.beside("waits", name, "hyper", lambda ours, theirs: ours / theirs)
            ratio = Figure(ours["p50_us"] / theirs["p50_us"]
                           for ours, theirs in run.pairs("waits", name, "hyper"))
            rows.append([NAMES[name], p50.show(0), p99.show(0), f"{ratio.show()} ×", f"{more.median:.2f} ×"])
    return table(["50 calls a second: a caller waits, µs", "median", "99 of 100", "median × hyper", "processor time × hyper"], rows)


def start(run):
    names = dict.fromkeys(client for scenario, client, _ in run.rows if scenario == "start")
    rows = [[NAMES[name], run.figure("start", name, lambda row: row["unit_us"] / 1000).show(),
             run.figure("start", name, lambda row: row["first_call_us"] / 1000).show()] for name in names]
    return table(["processor time, ms", "until it can call", "first call and its record"], rows)


def server(run):
    """How much of each run the sandbox took, with the quickest client."""
    said = []
    for scenario, (what, unit, scale, _) in COLUMNS.items():
        share = run.figure(scenario, "raw", lambda row: row["server_cpu_us"] / (row["server_cpu_us"] + row["cpu_us"]) * 100)
        each = run.figure(scenario, "raw", lambda row: row["server_cpu_us"] / row["cpu_us"] * row["unit_us"])
        if share:
            said.append(f"{each.median * scale:,.{0 if scale > 1 else 1}f} {unit} and {share.median:.0f} % in {scenario}")
    rate = run.figure("create64", "raw", lambda row: row["calls"] / row["wall_us"] * 1e6)
    ceiling = f" It served the bare C client {rate.median:,.0f} creates a second." if rate else ""
    return f"The sandbox's own processor time beside the bare C client: {'; '.join(said)}.{ceiling}"


def inner(directory):
    """What criterion measured: names, and nanoseconds for one element."""
    found = []
    for estimates in sorted(directory.glob("**/new/estimates.json")):
        about = json.loads((estimates.parent / "benchmark.json").read_text())
        elements = (about.get("throughput") or {}).get("Elements", 1)
        nanoseconds = json.loads(estimates.read_text())["median"]["point_estimate"]
        found.append((about["full_id"], nanoseconds / elements))
    return found


def text(about, inner_figures, rows):
    run = Run(rows)
    parts = [
        f"{about['machine']}. Rounds: {about['rounds']}, scale {about['scale']:g}, load {about['load']:.1f} at the end. "
        "Processor time is user and system of the whole client, until every record is delivered; client and server share "
        "one processor. Medians; ratios are taken inside a round, with min..max over the rounds.",
        clients(run, about), waits(run, about), streams(run, about), start(run)]
    if inner_figures:
        shown = [[name, f"{ns / 1000:,.2f} µs" if ns >= 1000 else f"{ns:,.0f} ns"] for name, ns in inner_figures]
        parts.append(table(["inner benchmark", "for one"], shown))
    parts += [targets(run, about, inner_figures), server(run)]
    if about["left_out"]:
        parts.append("Left out: " + "; ".join(f"{name}: {reason}" for name, reason in about["left_out"].items()) + ".")
    return "\n\n".join(parts) + "\n"
