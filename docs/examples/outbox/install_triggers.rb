# Rails, db/migrate/20261128100000_install_snorky_triggers.rb
class InstallSnorkyTriggers < ActiveRecord::Migration[7.2]
  def up
    system("snorky", "triggers", "install", ENV.fetch("DATABASE_URL"), "tickets", exception: true)
  end

  def down
    system("snorky", "triggers", "remove", ENV.fetch("DATABASE_URL"), "tickets", exception: true)
  end
end
