package io.gatun.onnxruntime;

import com.google.protobuf.ByteString;
import io.gatun.onnxruntime.proto.Onnx.StringStringEntryProto;
import io.gatun.onnxruntime.proto.Onnx.TensorProto;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Path;
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
    private FileChannel channel;

    /**
     * {@code folder}: of the model that is read; null if it is in memory, then other files are refused. {@code target}: the
     * file that gets all tensors that {@link #store} and {@link #keep} are given; null leaves them in the model.
     */
    TensorFiles(Path folder, Path target) {
        this.folder = folder;
        this.target = target;
    }

    static boolean isExternal(TensorProto tensor) {
        return tensor.getDataLocation() == EXTERNAL;
    }

    /** A tensor with its bytes in it. */
    TensorProto load(TensorProto tensor) {
        if (!isExternal(tensor)) {
            return tensor;
        }
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
        try (FileChannel source = FileChannel.open(file, StandardOpenOption.READ)) {
            long offset = number(tensor, "offset", 0);
            long length = number(tensor, "length", source.size() - offset);
            if (offset < 0 || length < 0 || length > source.size() - offset) {
                throw new IllegalArgumentException("initializer " + tensor.getName() + " has bytes " + offset + " to "
                        + (offset + length) + " of " + file + "; allowed: 0 to " + source.size());
            }
            ByteBuffer bytes = ByteBuffer.allocate(Math.toIntExact(length));
            while (bytes.hasRemaining() && source.read(bytes, offset + bytes.position()) >= 0) {}
            return tensor.toBuilder()
                    .clearExternalData()
                    .clearDataLocation()
                    .setRawData(ByteString.copyFrom(bytes.flip()))
                    .build();
        } catch (IOException e) {
            throw new UncheckedIOException(new IOException("initializer " + tensor.getName() + " in " + file + ": " + e, e));
        }
    }

    /** A constant of bytes. */
    TensorProto store(String name, MemorySegment bytes) {
        TensorProto.Builder tensor =
                TensorProto.newBuilder().setName(name).setDataType(Constants.UINT8).addDims(bytes.byteSize());
        return target == null
                ? tensor.setRawData(ByteString.copyFrom(bytes.asByteBuffer())).build()
                : write(tensor, bytes.asByteBuffer());
    }

    /** A tensor of the model as it goes into the rewritten one. */
    TensorProto keep(TensorProto tensor) {
        if (target == null || !isExternal(tensor)) {
            return tensor;
        }
        TensorProto loaded = load(tensor);
        return write(loaded.toBuilder().clearRawData(), loaded.getRawData().asReadOnlyByteBuffer());
    }

    private TensorProto write(TensorProto.Builder tensor, ByteBuffer bytes) {
        try {
            if (channel == null) {
                channel = FileChannel.open(
                        target,
                        StandardOpenOption.CREATE,
                        StandardOpenOption.TRUNCATE_EXISTING,
                        StandardOpenOption.WRITE);
            }
            long offset = Math.ceilDiv(channel.size(), ALIGNMENT) * ALIGNMENT;
            long length = bytes.remaining();
            while (bytes.hasRemaining()) {
                channel.write(bytes, offset + length - bytes.remaining());
            }
            return tensor.setDataLocation(EXTERNAL)
                    .addExternalData(entry("location", target.getFileName().toString()))
                    .addExternalData(entry("offset", Long.toString(offset)))
                    .addExternalData(entry("length", Long.toString(length)))
                    .build();
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
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

    @Override
    public void close() throws IOException {
        if (channel != null) {
            channel.close();
        }
    }
}
