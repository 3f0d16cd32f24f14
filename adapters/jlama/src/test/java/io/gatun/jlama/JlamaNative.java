package io.gatun.jlama;

import com.github.tjake.jlama.tensor.operations.TensorOperations;
import java.io.IOException;
import java.net.URL;
import java.net.URLClassLoader;
import java.nio.file.Path;

/** jlama-native's operations, on the same tensors: a class loader of its own has the class that Gatun's replaces. */
final class JlamaNative extends URLClassLoader {
    private static final String OPERATIONS = "com.github.tjake.jlama.tensor.operations.";

    private JlamaNative(URL jar) {
        super(new URL[] {jar}, JlamaNative.class.getClassLoader());
    }

    /** @param jar of jlama-native */
    static TensorOperations load(Path jar) throws ReflectiveOperationException, IOException {
        return (TensorOperations) new JlamaNative(jar.toUri().toURL())
                .loadClass(OPERATIONS + "NativeSimdTensorOperations")
                .getConstructor()
                .newInstance();
    }

    @Override
    protected Class<?> loadClass(String name, boolean resolve) throws ClassNotFoundException {
        boolean own = name.startsWith(OPERATIONS + "NativeSimdTensorOperations")
                || name.startsWith(OPERATIONS + "cnative.")
                || name.startsWith(OPERATIONS + "util.");
        if (!own) {
            return super.loadClass(name, resolve);
        }
        synchronized (getClassLoadingLock(name)) {
            Class<?> known = findLoadedClass(name);
            return known != null ? known : findClass(name);
        }
    }
}
