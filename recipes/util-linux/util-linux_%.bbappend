require ${@bb.utils.contains('DISTRO_FEATURES', 'ima', 'util-linux-imasign.inc', '', d)}
