"""gdb's commands for unikernels: `help uk`. Works on a machine that stands still and on a core."""

import ipaddress
import os
import struct
import subprocess

import gdb


def word(address):
    """The eight bytes at an address."""
    return struct.unpack("<Q", gdb.selected_inferior().read_memory(address, 8).tobytes())[0]


def symbol(name):
    """The address of a symbol that is not mangled."""
    found = gdb.lookup_minimal_symbol(name) if hasattr(gdb, "lookup_minimal_symbol") else None
    if found is not None:
        return int(found.value().address)
    # Rust has another syntax for casts.
    before = gdb.parameter("language")
    gdb.execute("set language c", to_string=True)
    try:
        return int(gdb.parse_and_eval("(unsigned long)&" + name))
    except gdb.error as problem:
        raise gdb.GdbError("the image has no `%s`: %s" % (name, problem))
    finally:
        gdb.execute("set language " + before, to_string=True)


def static(path):
    """The value of a static of the runtime."""
    before = gdb.parameter("language")
    gdb.execute("set language rust", to_string=True)
    try:
        return gdb.parse_and_eval("unikernel_rt::" + path)
    except gdb.error as problem:
        raise gdb.GdbError("the image has no `%s`: %s" % (path, problem))
    finally:
        gdb.execute("set language " + before, to_string=True)


def text(value):
    """A string slice, or a pointer to one."""
    while "data_ptr" not in [field.name for field in value.type.fields()]:
        value = value["pointer"]
    length = int(value["length"])
    if length == 0:
        return ""
    return gdb.selected_inferior().read_memory(int(value["data_ptr"]), length).tobytes().decode("utf-8", "replace")


def cell(value):
    """What is in a `Cell` or a `RefCell`."""
    value = value["value"]
    return value["value"] if value.type.strip_typedefs().name.startswith("core::cell::UnsafeCell") else value


def elements(vector):
    """The elements of a vector, as the toolchain's own view of it gives them."""
    view = gdb.default_visualizer(vector)
    if view is None:
        raise gdb.GdbError("the views of Rust's types are missing; start gdb with `cargo unikernel debug`")
    return [value for _, value in view.children()]


def is_variant(value, name):
    """Whether an enum is this variant; gdb knows, but tells Python in text only."""
    return value.format_string(raw=True, max_depth=1).split("(")[0].split("{")[0].strip().endswith("::" + name)


def core():
    """The runtime's state."""
    slot = static("platform::x86_64::CORE")["__0"]["value"]
    if is_variant(slot, "None"):
        raise gdb.GdbError("the machine is not set up yet")
    return slot["Some"]["__0"]


class Uk(gdb.Command):
    """Looks into a unikernel: `uk tasks`, `uk sockets`, `uk heap`, `uk log`, `uk layout`."""

    def __init__(self):
        super().__init__("uk", gdb.COMMAND_USER, prefix=True)


class Command(gdb.Command):
    """A command of ours: `uk NAME`. What gdb cannot do is told in a sentence, not by a trace of Python."""

    name = ""

    def __init__(self):
        super().__init__("uk " + self.name, gdb.COMMAND_USER)

    def invoke(self, text, _from_tty):
        try:
            self.run(text)
        except gdb.error as problem:
            hint = "was the image built by `cargo unikernel debug`, and is it the one that runs?"
            raise gdb.GdbError("`uk %s` is not possible: %s; %s" % (self.name, problem, hint))


class Attach(Command):
    """uk attach SOCKET RELOCATED MAIN: boots a paused machine up to the app, with the symbols where the code is."""

    name = "attach"

    def run(self, text):
        socket, relocated, main = gdb.string_to_argv(text)
        image = gdb.current_progspace().filename
        # Until the image has its address, its symbols are wrong; gdb would read code there.
        gdb.execute("symbol-file", to_string=True)
        gdb.execute("file", to_string=True)
        gdb.execute("target remote " + socket, to_string=True)
        run_to(int(relocated, 0))
        slide = int(gdb.parse_and_eval("$r12")) & (1 << 64) - 1
        run_to((int(main, 0) + slide) & (1 << 64) - 1)
        quoted = image.replace("\\", "\\\\").replace('"', '\\"')
        gdb.execute('symbol-file -o %#x "%s"' % (slide, quoted), to_string=True)
        print("the image lies at %#x beyond where it was linked; `help uk` lists our commands" % slide)
        gdb.execute("frame")


def run_to(address):
    """Lets the machine run to an address. By the CPU's breakpoints, as there may be no memory yet."""
    gdb.execute("thbreak *%#x" % address, to_string=True)
    gdb.execute("continue", to_string=True)
    here = int(gdb.parse_and_eval("$pc")) & (1 << 64) - 1
    if here != address:
        raise gdb.GdbError("the machine stopped at %#x, before it came to %#x" % (here, address))


class Open(Command):
    """uk open CORE: opens a core of the image; a note in it moves the symbols."""

    name = "open"

    def run(self, text):
        gdb.execute("core-file " + text)


class Layout(Command):
    """Where image, stack and physical memory lie at this boot."""

    name = "layout"

    def run(self, _text):
        at = symbol("__unikernel_layout")
        names = ["slide", "direct map", "stack bottom", "stack top", "direct map length"]
        for number, name in enumerate(names):
            print("%-18s %#018x" % (name, word(at + 16 + 8 * number)))


class Tasks(Command):
    """The tasks: number, polls, name or place of the spawn, and what each waits for."""

    name = "tasks"

    def run(self, _text):
        executor = core()["executor"]
        running = cell(executor["current"])
        print("%5s %8s  %-36s %s" % ("task", "polls", "name", "waits for"))
        for number, entry in enumerate(elements(cell(executor["tasks"])["entries"])):
            if not is_variant(entry, "Occupied"):
                continue
            task = entry["Occupied"]["__0"]["ptr"]["pointer"].dereference()["value"]
            is_running = is_variant(running, "Some") and int(running["Some"]["__0"]) == number
            waits_for = "(running)" if is_running else text(cell(task["waits_for"]))
            print("%5d %8d  %-36s %s" % (number, int(cell(task["polls"])), name_of(task["name"]), waits_for))


def name_of(name):
    """A task's name, or where it was spawned."""
    place = name["place"].dereference()
    return text(name["name"]) or "%s:%d" % (text(place["filename"]), int(place["line"]))


class Sockets(Command):
    """The network: listeners, sockets for datagrams, connections with their states, and how many handshakes there are."""

    name = "sockets"

    def run(self, _text):
        found = list(networks())
        if not found:
            raise gdb.GdbError("the app has no network stack, or it has not started yet")
        print("%-14s %-28s %s" % ("state", "local", "peer"))
        for net in found:
            # A map comes as its keys and values in turn.
            for port in elements(net["listeners"])[0::2]:
                print("%-14s *:%d" % ("LISTEN", int(port)))
            for socket in occupied(net["sockets"]):
                print("%-14s *:%d" % ("UDP", int(socket["port"])))
            for flow in occupied(net["flows"]):
                key, state = flow["key"], flow["tcb"]["state"].format_string(raw=True).rsplit("::", 1)[-1]
                local, peer = end(key["local"], int(key["ports"]) >> 16), end(key["peer"], int(key["ports"]) & 0xffff)
                print("%-14s %-28s %s" % (state, local, peer))
            print("%d handshakes under way" % len(list(occupied(net["half_open"]["entries"]))))


def networks():
    """The stacks; each has a section in the report of a crash, which keeps nothing but the way to it."""
    for section in elements(cell(core()["sections"])):
        if text(section["__0"]) == "network":
            shared = gdb.lookup_type("alloc::rc::RcInner<unikernel_net::stack::Shared>").pointer()
            yield cell(gdb.Value(word(int(section["__1"]["pointer"]))).cast(shared).dereference()["value"]["net"])


def occupied(slab):
    """What is in a slab."""
    for entry in elements(slab["entries"]):
        if is_variant(entry, "Occupied"):
            yield entry["Occupied"]["__0"]


def end(address, port):
    """An end of a connection, as the network writes it."""
    whole = ipaddress.IPv6Address(int(address["high"]) << 64 | int(address["low"]))
    return "%s:%d" % (whole.ipv4_mapped, port) if whole.ipv4_mapped else "[%s]:%d" % (whole, port)


class Heap(Command):
    """How much of the heap is in use, and the blocks by size."""

    name = "heap"

    def run(self, _text):
        blocks = static("platform::x86_64::heap::HEAP")["__0"]["value"]["blocks"]
        stats = blocks["stats"]
        kib = tuple(int(stats[name]) >> 10 for name in ("in_use", "total", "peak"))
        print("%d of %d KiB in use, %d KiB at most so far" % kib)
        print("%12s %10s" % ("bytes a slot", "blocks"))
        # How divisions by the length of a slot are made; the first is the step from one class to the next.
        step = (1 << 32) // int(static("heap::sizes::RECIPROCALS")[0])
        offers = blocks["slabs"]["offers"]
        for number in range(offers.type.range()[1] + 1):
            count = int(offers[number]["blocks"])
            if count > 0:
                print("%12d %10d" % ((number + 1) * step, count))
        print("%12s %10d" % ("more", int(blocks["large_blocks"])))


class Log(Command):
    """The newest log lines, whether the console has had them or not."""

    name = "log"

    def run(self, _text):
        ring = static("platform::x86_64::log_ring::__unikernel_log")["__0"]["value"]
        memory = ring["bytes"]
        low, high = memory.type.range()
        size = high - low + 1
        held = gdb.selected_inferior().read_memory(int(memory.address), size).tobytes()
        start, end = int(ring["start"]), int(ring["end"])
        if end - start > size:
            raise gdb.GdbError("the log in memory is damaged")
        lines, at = b"", start
        while at < end:
            header = [held[(at + number) % size] for number in range(4)]
            length = header[0] | header[1] << 8
            lines += bytes(held[(at + 4 + number) % size] for number in range(length))
            at += 4 + length
        # The tool that started gdb decodes them.
        tool, image = os.environ.get("UNIKERNEL_TOOL"), os.environ.get("UNIKERNEL_IMAGE")
        if tool is None or image is None:
            raise gdb.GdbError("log lines are decoded by the tool; start gdb with `cargo unikernel debug`")
        decoded = subprocess.run([tool, "symbolize", "--elf", image, "-"], input=lines, stdout=subprocess.PIPE, check=False)
        print(decoded.stdout.decode("utf-8", "replace"), end="")


Uk()
Attach()
Open()
Layout()
Tasks()
Sockets()
Heap()
Log()
