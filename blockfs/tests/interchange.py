"""The reference implementation of littlefs, for the tests: makes images, and says what is in one.

make IMAGE BLOCK_LEN BLOCK_COUNT PROG_LEN    makes an image with files, and says what is in it
dump IMAGE BLOCK_LEN                         says what is in an image: a line for each folder and file
"""

import sys
import zlib

from littlefs import LittleFS, UserContext


def volume(image, block_len, block_count, prog_len, mount):
    context = UserContext(len(image))
    context.buffer = bytearray(image)
    sizes = dict(read_size=prog_len, prog_size=prog_len, cache_size=min(block_len, 4096), lookahead_size=64)
    return LittleFS(context, mount=mount, block_size=block_len, block_count=block_count, **sizes)


def content(number, length):
    return bytes((number * 31 + at * 7 + at // 251) % 256 for at in range(length))


def make(path, block_len, block_count, prog_len):
    made = volume(bytes(block_len * block_count), block_len, block_count, prog_len, mount=False)
    made.format()
    made.mount()
    for folder in ["/one", "/one/two", "/empty"]:
        made.mkdir(folder)
    for number, length in enumerate([0, 1, 50, 600, 4096, 5000, 70_000]):
        for folder in ["", "/one", "/one/two"]:
            with made.open(f"{folder}/file {number}", "wb") as file:
                file.write(content(number, length))
    with made.open("/one/file 3", "ab") as file:
        file.write(content(9, 10_000))
    made.remove("/file 2")
    made.rename("/one/file 5", "/empty/ünïcödé")
    with open(path, "wb") as image:
        image.write(made.context.buffer)
    say(made)


def dump(path, block_len):
    with open(path, "rb") as image:
        say(volume(image.read(), block_len, 0, 512, mount=True))


def say(found):
    for folder, folders, files in found.walk("/"):
        folder = folder.rstrip("/")
        for name in folders:
            print(f"{folder}/{name}\tfolder")
        for name in files:
            with found.open(f"{folder}/{name}", "rb") as file:
                data = file.read()
            print(f"{folder}/{name}\t{len(data)}\t{zlib.crc32(data)}")


arguments = [int(word) if word.isdigit() else word for word in sys.argv[2:]]
{"make": make, "dump": dump}[sys.argv[1]](*arguments)
