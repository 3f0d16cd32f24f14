package io.gatun.files;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.SplittableRandom;

/** Damages files at random: bits, bytes, whole numbers, pieces that are cut out, doubled, swapped or put in. */
final class Mutations {
    private static final long[] NUMBERS = {
        0,
        1,
        2,
        7,
        8,
        31,
        32,
        33,
        64,
        255,
        256,
        65535,
        65536,
        0x7fffffffL,
        0x80000000L,
        0xffffffffL,
        1L << 32,
        1L << 40,
        1L << 60,
        1L << 61,
        1L << 62,
        Long.MAX_VALUE - 31,
        Long.MAX_VALUE,
        Long.MIN_VALUE,
        -1,
        -2,
        -32
    };
    private static final byte[] JSON = "{}[]\",:\\0123456789-.eu \n\u0000".getBytes(StandardCharsets.UTF_8);

    private Mutations() {}

    static byte[] of(byte[] file, SplittableRandom random) {
        byte[] bytes = file.clone();
        for (int i = random.nextInt(1, 4); i > 0 && bytes.length > 0; i--) {
            bytes = one(bytes, random);
        }
        return bytes;
    }

    private static byte[] one(byte[] bytes, SplittableRandom random) {
        int at = random.nextInt(bytes.length);
        int end = at + random.nextInt(Math.min(bytes.length - at, 24)) + 1;
        switch (random.nextInt(9)) {
            case 0 -> bytes[at] ^= (byte) (1 << random.nextInt(8));
            case 1 -> bytes[at] = (byte) random.nextInt();
            case 2 -> bytes[at] = JSON[random.nextInt(JSON.length)];
            case 3 -> number(bytes, at, 4, random);
            case 4 -> number(bytes, at, 8, random);
            case 5 -> bytes = random.nextInt(8) == 0 ? Arrays.copyOf(bytes, at) : splice(bytes, at, end, at, at);
            case 6 -> bytes = splice(bytes, at, at, at, end);
            case 7 -> {
                int from = random.nextInt(bytes.length - (end - at) + 1);
                bytes = splice(bytes, at, end, from, from + end - at);
            }
            default -> bytes = Arrays.copyOf(bytes, bytes.length + random.nextInt(40));
        }
        return bytes;
    }

    private static void number(byte[] bytes, int at, int size, SplittableRandom random) {
        if (at + size <= bytes.length) {
            ByteBuffer buffer = ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN);
            long old = size == 4 ? buffer.getInt(at) : buffer.getLong(at);
            long number =
                    random.nextBoolean() ? NUMBERS[random.nextInt(NUMBERS.length)] : old + random.nextInt(-33, 34);
            if (size == 4) {
                buffer.putInt(at, (int) number);
            } else {
                buffer.putLong(at, number);
            }
        }
    }

    /** {@code begin..end} replaced by a copy of {@code from..to}. */
    private static byte[] splice(byte[] bytes, int begin, int end, int from, int to) {
        byte[] result = new byte[bytes.length - (end - begin) + (to - from)];
        System.arraycopy(bytes, 0, result, 0, begin);
        System.arraycopy(bytes, from, result, begin, to - from);
        System.arraycopy(bytes, end, result, begin + to - from, bytes.length - end);
        return result;
    }
}
