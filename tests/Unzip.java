// Extracts a zip twice, by its directory (ZipFile) and as a stream (ZipInputStream), compares the two,
// and writes what they hold below the current folder. Java knows neither modes nor symlinks: a symlink
// becomes a file with its target.

import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.zip.ZipEntry;
import java.util.zip.ZipFile;
import java.util.zip.ZipInputStream;

public class Unzip {
    public static void main(String[] args) throws Exception {
        int streamed = 0;
        try (ZipFile zip = new ZipFile(args[0]);
             ZipInputStream stream = new ZipInputStream(Files.newInputStream(Path.of(args[0])))) {
            for (ZipEntry entry; (entry = stream.getNextEntry()) != null; streamed++) {
                byte[] content = stream.readAllBytes();
                ZipEntry same = zip.getEntry(entry.getName());
                try (InputStream input = zip.getInputStream(same)) {
                    if (!Arrays.equals(content, input.readAllBytes())) {
                        throw new Exception(entry.getName() + " differs");
                    }
                }
                Path path = Path.of(entry.getName());
                if (entry.isDirectory()) {
                    Files.createDirectories(path);
                } else {
                    Files.write(path, content);
                }
            }
            if (streamed != zip.size()) {
                throw new Exception(streamed + " of " + zip.size());
            }
        }
    }
}
