inherit ${@bb.utils.contains('DISTRO_FEATURES', 'ima', 'imasign-kernel', '', d)}
