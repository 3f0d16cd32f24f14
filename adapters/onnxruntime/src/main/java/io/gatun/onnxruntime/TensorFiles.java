package io.gatun.onnxruntime;

import com.google.protobuf.ByteString;
import io.gatun.onnxruntime.proto.Onnx.StringStringEntryProto;
import io.gatun.onnxruntime.proto.Onnx.TensorProto;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;

/**
 * Where the bytes of tensors lie: in the model, or in files beside it, which models above 2 GB need. Source: the field
 * external_data of ONNX's TensorProto.
 */
final class TensorFiles implements AutoCloseable {
    private static final int EXTERNAL = 1;
    /** Of where tensors begin in a file, so that it can be mapped. */
    private static final long ALIGNMENT = 4096;

    private final Path folder;
    private final Path target;
    /** What {@link #commit} makes the target. */
    private final Path unfinished;

    private FileChannel channel;

    /**
     * {@code folder}: of the model that is read; null if it is in memory, then other files are refused. {@code target}: the
     * file that gets all tensors that {@link #store} and {@link #keep} are given; null leaves them in the model.
     */
    TensorFiles(Path folder, Path target) {
        this.folder = folder;
        this.target = target;
        this.unfinished = target == null ? null : target.resolveSibling(target.getFileName() + ".part");
    }

    static boolean isExternal(TensorProto tensor) {
        return tensor.getDataLocation() == EXTERNAL;
    }

    /** Bytes of a file. */
    private record Stretch(Path file, FileChannel channel, long offset, long length) implements AutoCloseable {
        @Override
        public void close() throws IOException {
            channel.close();
        }
    }

    /** A tensor with its bytes in it. */
    TensorProto load(TensorProto tensor) {
        if (!isExternal(tensor)) {
            return tensor;
        }
        try (Stretch from = find(tensor)) {
            if (from.length > Integer.MAX_VALUE - 8) {
                throw new UnsupportedOperationException("initializer " + tensor.getName() + " has " + from.length
                        + " bytes; allowed: less than 2^31 of one that is to be packed, or leave its nodes out"
                        + " (Options.withNodes)");
            }
            ByteBuffer bytes = ByteBuffer.allocate((int) from.length);
            while (bytes.hasRemaining() && from.channel.read(bytes, from.offset + bytes.position()) >= 0) {}
            return tensor.toBuilder()
                    .clearExternalData()
                    .clearDataLocation()
                    .setRawData(ByteString.copyFrom(bytes.flip()))
                    .build();
        } catch (IOException e) {
            throw failed(tensor, e);
        }
    }

    /** A constant of bytes. */
    TensorProto store(String name, MemorySegment bytes) {
        TensorProto.Builder tensor = TensorProto.newBuilder()
                .setName(name)
                .setDataType(Constants.UINT8)
                .addDims(bytes.byteSize());
        if (target == null) {
            return tensor.setRawData(ByteString.copyFrom(bytes.asByteBuffer())).build();
        }
        try {
            long offset = begin();
            for (long at = 0; at < bytes.byteSize(); ) {
                long part = Math.min(bytes.byteSize() - at, 1 << 30);
                at += channel.write(bytes.asSlice(at, part).asByteBuffer(), offset + at);
            }
            return written(tensor, offset, bytes.byteSize());
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    /** A tensor of the model as it goes into the rewritten one. */
    TensorProto keep(TensorProto tensor) {
        if (target == null || !isExternal(tensor)) {
            return tensor;
        }
        try (Stretch from = find(tensor)) {
            long offset = begin();
            channel.position(offset);
            for (long at = 0; at < from.length; ) {
                at += from.channel.transferTo(from.offset + at, from.length - at, channel);
            }
            return written(tensor.toBuilder().clearExternalData(), offset, from.length);
        } catch (IOException e) {
            throw failed(tensor, e);
        }
    }

    /** Puts what was written into its place. */
    void commit() throws IOException {
        if (channel != null) {
            channel.close();
            Files.move(unfinished, target, StandardCopyOption.REPLACE_EXISTING);
        }
    }

    private Stretch find(TensorProto tensor) throws IOException {
        if (folder == null) {
            throw new UnsupportedOperationException("initializer " + tensor.getName()
                    + " lies in another file; allowed: models of one file, rewrite(Path, Path, Options), or leave its"
                    + " nodes out (Options.withNodes)");
        }
        String location = entry(tensor, "location", "");
        Path file = folder.resolve(location).normalize();
        if (location.isEmpty() || !file.startsWith(folder.normalize())) {
            throw new IllegalArgumentException("initializer " + tensor.getName() + " lies in \"" + location
                    + "\"; allowed: a file in the folder of the model");
        }
        if (target != null && Files.exists(target) && Files.isSameFile(file, target)) {
            throw new IllegalArgumentException("initializer " + tensor.getName() + " lies in " + target
                    + ", where those of the rewritten model are to lie; allowed: another name of that");
        }
        FileChannel source = FileChannel.open(file, StandardOpenOption.READ);
        try {
            long offset = number(tensor, "offset", 0);
            long length = number(tensor, "length", source.size() - offset);
            if (offset < 0 || length < 0 || length > source.size() - offset) {
                throw new IllegalArgumentException("initializer " + tensor.getName() + " has bytes from " + offset
                        + " on, " + length + " of them, of " + file + "; allowed: 0 to " + source.size());
            }
            return new Stretch(file, source, offset, length);
        } catch (IOException | RuntimeException e) {
            source.close();
            throw e;
        }
    }

    /** Where the next tensor begins in the target. */
    private long begin() throws IOException {
        if (channel == null) {
            channel = FileChannel.open(
                    unfinished,
                    StandardOpenOption.CREATE,
                    StandardOpenOption.TRUNCATE_EXISTING,
                    StandardOpenOption.WRITE);
        }
        return Math.ceilDiv(channel.size(), ALIGNMENT) * ALIGNMENT;
    }

    private TensorProto written(TensorProto.Builder tensor, long offset, long length) {
        return tensor.setDataLocation(EXTERNAL)
                .addExternalData(entry("location", target.getFileName().toString()))
                .addExternalData(entry("offset", Long.toString(offset)))
                .addExternalData(entry("length", Long.toString(length)))
                .build();
    }

    private static UncheckedIOException failed(TensorProto tensor, IOException e) {
        return new UncheckedIOException(new IOException("initializer " + tensor.getName() + ": " + e, e));
    }

    private static StringStringEntryProto entry(String key, String value) {
        return StringStringEntryProto.newBuilder().setKey(key).setValue(value).build();
    }

    private static String entry(TensorProto tensor, String key, String otherwise) {
        return tensor.getExternalDataList().stream()
                .filter(entry -> entry.getKey().equals(key))
                .map(StringStringEntryProto::getValue)
                .findFirst()
                .orElse(otherwise);
    }

    private static long number(TensorProto tensor, String key, long otherwise) {
        String text = entry(tensor, key, Long.toString(otherwise));
        try {
            return Long.parseLong(text);
        } catch (NumberFormatException e) {
            throw new IllegalArgumentException(
                    "initializer " + tensor.getName() + ": " + key + " = " + text + "; allowed: a number", e);
        }
    }

    /** Removes what was not committed. */
    @Override
    public void close() throws IOException {
        if (channel != null) {
            channel.close();
            Files.deleteIfExists(unfinished);
        }
    }
}
