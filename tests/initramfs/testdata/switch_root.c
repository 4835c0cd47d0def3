/* Stands for the signed, static switch_root of a root file system: says how it was
   called, and where. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	char cwd[4096];
	int i;

	if (argc == 2 && !strcmp(argv[1], "--version"))
		return 0;
	printf("SWITCHED in %s:", getcwd(cwd, sizeof cwd));
	for (i = 1; i < argc; i++)
		printf(" %s", argv[i]);
	printf("\n");
	return 0;
}
